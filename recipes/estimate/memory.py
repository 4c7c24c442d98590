"""How much memory a training step takes on one device, from formulas alone.

N parameters of the base, T trained ones, w bytes of a base's number, v of a trained one, t tokens of a micro-batch:
- weights: w N, or 0.516 N for a base in 4 bits (QLoRA, appendix A: 0.127 bits a number for the constants) and 1 N in 8,
  with the embeddings in w; an adapter's v T besides, and float32 masters of narrow trained weights.
- gradients: v T; data parallelism holds them a second time, in the buckets that travel.
- optimiser: by its kind (`STATE`), bytes for each trained number.
- activations: w t L (n h + 4 i + 2 q + 2 k) for L layers of hidden size h, MLP width i and q, k numbers of all query
  and key heads; n is 6 in float32 and 8 below it (norms are computed in float32), 2 less where the norms are frozen; an
  adapter keeps 7 r more. Measured on transformers' Llama with SDPA (every tensor that autograd saves), where it is
  exact. With gradient checkpointing: each layer's input, and one layer's activations.
- logits: t V (w + 8): as they are, once more in float32, and their softmax.
The peak is at the end of the forward pass, or at the step, whichever is higher.
Left out: fragments in a GPU's allocator, and layers unlike Llama's (their sum is about right).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from recipes.estimate.shapes import Shape

LIBRARIES = 0.65e9  # bytes held after importing torch, transformers and peft, and by the kernels' own work space
# What the C library's heap takes for each byte that passes through it in a step, measured: blocks of up to 32 MB leave
# holes, and LoRA frees many between those it keeps. MALLOC_MMAP_THRESHOLD_=65536 avoids it, at some cost in time.
HEAP, HEAP_WITH_ADAPTER = 1.25, 1.8
CUDA_CONTEXT = 0.6e9  # of a device: the driver's context and the libraries' kernels
FOUR_BITS, EIGHT_BITS = 0.516, 1.0
# Bytes of optimiser state for each trained number.
STATE = {
    "adamw_torch_4bit": 1.0, "adamw_torch_8bit": 2.0, "adamw_bnb_8bit": 2.0, "adamw_8bit": 2.0, "paged_adamw_8bit": 2.0,
    "ademamix": 12.0, "ademamix_8bit": 3.0, "paged_ademamix_32bit": 12.0, "paged_ademamix_8bit": 3.0, "lion_32bit": 4.0,
    "lion_8bit": 1.0, "paged_lion_32bit": 4.0, "paged_lion_8bit": 1.0, "adafactor": 0.02, "sgd": 0.0, "adagrad": 4.0,
    "rmsprop": 4.0, "rmsprop_bnb": 4.0, "rmsprop_bnb_8bit": 1.0, "rmsprop_bnb_32bit": 4.0, "muon": 4.5,
    "galore_adamw": 2.0, "galore_adamw_8bit": 1.0, "galore_adafactor": 1.0, "apollo_adamw": 2.0,
}  # fmt: skip
ADAM = 8.0
EIGHT_BIT_ADAM = "adamw_bnb_8bit"


@dataclass(frozen=True)
class Setting:
    """What of a recipe decides about memory. `tokens`: of one micro-batch, padding included."""

    tokens: int
    trained: int
    width: int = 4
    trained_width: int = 4
    quantization: str | None = None
    rank: int = 0
    adapter: bool = False
    optim: str = "adamw_torch_fused"
    accumulation: int = 1
    checkpointing: bool = False
    offloading: bool = False
    processes: int = 1
    shards: frozenset[str] = field(default_factory=frozenset)
    on_gpu: bool = False


@dataclass(frozen=True)
class Memory:
    """Bytes on one device, by what they are for."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    buckets: float
    libraries: float
    accumulates: bool = False

    @property
    def peak(self) -> float:
        """Return the most that is held at a time."""
        forward = self.activations + self.logits + (self.gradients if self.accumulates else 0)
        # Gradients come while activations go, so without accumulation the two are never whole at the same time.
        return self.weights + self.optimizer + self.buckets + self.libraries + max(forward, self.gradients)


def needed(shape: Shape, setting: Setting) -> Memory:
    """Return the memory of a training step on each device."""
    share = {part: 1 / setting.processes if part in setting.shards else 1.0 for part in PARTS}
    masters = 4 * setting.trained if setting.trained_width < 4 else 0
    gradients = setting.trained_width * setting.trained
    buckets = gradients if setting.processes > 1 and not setting.shards else 0
    heap = 1.0 if setting.on_gpu else HEAP_WITH_ADAPTER if setting.adapter else HEAP
    return Memory(
        _weights(shape, setting) * share["weights"],
        gradients * share["gradients"],
        (STATE.get(setting.optim, ADAM) * setting.trained + masters) * share["optimizer"],
        heap * activations(shape, setting),
        heap * setting.tokens * shape.vocabulary * (setting.width + 8),
        buckets,
        CUDA_CONTEXT if setting.on_gpu else LIBRARIES,
        setting.accumulation > 1,
    )


PARTS = ("weights", "gradients", "optimizer")


def _weights(shape: Shape, setting: Setting) -> float:
    own = setting.trained_width * setting.trained if setting.adapter else 0
    if setting.quantization is None:
        return setting.width * shape.parameters + own
    bits = EIGHT_BITS if setting.quantization == "int8" else FOUR_BITS
    embeddings = min(shape.embeddings, shape.parameters)
    return setting.width * embeddings + bits * (shape.parameters - embeddings) + own


def activations(shape: Shape, setting: Setting) -> float:
    """Return the bytes that wait for the backward pass on the device."""
    norms = (6 if setting.width == 4 else 8) - (2 if setting.adapter else 0)
    numbers = norms * shape.hidden + 4 * shape.intermediate + 2 * shape.queries + 2 * shape.keys + 7 * setting.rank
    a_layer = setting.width * setting.tokens * numbers
    if setting.offloading and setting.on_gpu:
        return a_layer
    if setting.checkpointing:
        return a_layer + setting.width * setting.tokens * shape.hidden * shape.layers
    return a_layer * shape.layers


def lora_parameters(shape: Shape, rank: int) -> int:
    """Return the parameters of a LoRA adapter on all seven matrices of a Llama layer."""
    q, k, v, o = ((shape.hidden, width) for width in (shape.queries, shape.keys, shape.keys, shape.queries))
    mlp = 3 * (shape.hidden + shape.intermediate)
    return rank * shape.layers * (sum(map(sum, (q, k, v, o))) + mlp)


def with_adapter(shape: Shape, setting: Setting, rank: int) -> Setting:
    """Return the same setting with LoRA of this rank instead of all weights."""
    return replace(
        setting, adapter=True, rank=rank, trained=lora_parameters(shape, rank), trained_width=4, optim=setting.optim
    )
