"""What to look at first on a new GPU, in some ten minutes: `python benchmarks/training/gpu.py --checklist`.

(a) which kernels SDPA takes with and without a mask; (b) our attention over documents, forward and backward, against
one SDPA call a document in float32; (c) operations a second of attention over documents, of dense causal SDPA and of
flex_attention, by head dimension and length; (d) SDPA with a dense mask at 16k; (e) torch's varlen through cuDNN, where
it can be switched to; (f) a decoding step with a growing cache, and with a static one compiled; (g) whether TRL's SFT
takes a step under the transformers installed. An item that fails says so and the next one follows.
`--tiny`: on a CPU.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any


def timed(call: Callable[[], Any], device: str, repeats: int = 10) -> float:
    """Return the median seconds of a call, after three that warm up."""
    import torch

    found = []
    for _ in range(3 + repeats):
        if device == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - began)
    return statistics.median(found[3:])


def both_ways(call: Callable[[], Any], given: list[Any], device: str) -> float:
    """Return the median seconds of a call and its gradients."""
    import torch

    return timed(lambda: torch.autograd.grad(call().sum(), given), device)


def tensors(heads: int, keys: int, length: int, width: int, device: str, dtype: Any = None) -> list[Any]:
    """Return query (1, heads, T, width), key and value (1, keys, T, width) that want gradients."""
    import torch

    torch.manual_seed(0)
    kind = dtype or (torch.bfloat16 if device == "cuda" else torch.float32)
    return [
        torch.randn(1, count, length, width, device=device, dtype=kind, requires_grad=True)
        for count in (heads, keys, keys)
    ]


def sdpa(query: Any, key: Any, value: Any, **settings: Any) -> Any:
    """Return SDPA with grouped heads."""
    from torch.nn.functional import scaled_dot_product_attention

    return scaled_dot_product_attention(query, key, value, enable_gqa=True, **settings)


def by_documents(query: Any, key: Any, value: Any, lengths: list[int]) -> Any:
    """Return our attention over documents of these lengths, in the shape of SDPA's."""
    import torch

    from finetune.document_attention import attend

    ends = torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()], dtype=torch.int32, device=query.device)
    module = torch.nn.Module()
    module.is_causal, module.num_key_value_groups = True, query.shape[1] // key.shape[1]
    out, _ = attend(module, query, key, value, cu_seq_lens_q=ends, max_length_q=max(lengths))
    return out.transpose(1, 2)


def kernels(device: str, size: int) -> str:
    """(a) Name the kernels that take most time in SDPA."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    said = []
    for name, settings in (
        ("causal", {"is_causal": True}),
        ("dense mask", {"attn_mask": torch.ones(size, size, dtype=torch.bool, device=device).tril()}),
    ):
        given = tensors(32, 8, size, 64, device)
        wanted = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device == "cuda" else [])
        with profile(activities=wanted) as seen:
            sdpa(*given, **settings).sum().backward()
        rows = sorted(seen.key_averages(), key=lambda row: -getattr(row, f"self_{_clock(device)}_time_total"))
        said.append(f"{name}: {', '.join(row.key[:70] for row in rows[:3])}")
    return "; ".join(said)


def _clock(device: str) -> str:
    return "device" if device == "cuda" else "cpu"


def exactness(device: str, size: int) -> str:
    """(b) Compare outputs and gradients with one SDPA call a document in float32."""
    import torch

    lengths = [size // 2, size // 4, 1, size // 4 - 1]
    given = tensors(32, 8, size, 64, device)
    out = by_documents(*given, lengths)
    out.float().square().sum().backward()
    exact = [one.detach().float().requires_grad_() for one in given]
    parts = zip(*(one.split(lengths, dim=2) for one in exact), strict=True)
    reference = torch.cat([sdpa(*part, is_causal=True) for part in parts], dim=2)
    reference.square().sum().backward()
    pairs = [(out, reference), *((one.grad, other.grad) for one, other in zip(given, exact, strict=True))]
    apart = [float((one.float() - other).norm() / other.norm()) for one, other in pairs]
    assert max(apart) < (2e-2 if device == "cuda" else 1e-5), apart
    return "relative differences of output and three gradients: " + ", ".join(f"{one:.1e}" for one in apart)


def speeds(device: str, lengths: tuple[int, ...], rows: int) -> str:
    """(c) Operations a second, forward and backward, of `rows` tokens in documents of each length."""
    said = []
    for width in (64, 128):
        for length in lengths:
            documents = [length] * (rows // length)
            work = 3.5 * 4 * 32 * width * sum(one * one / 2 for one in documents)
            given = tensors(32, 8, rows, width, device)
            dense = [
                one.detach().reshape(one.shape[1], -1, length, width).transpose(0, 1).contiguous().requires_grad_()
                for one in given
            ]

            ours = work / both_ways(partial(by_documents, *given, documents), given, device) / 1e12
            plain = work / both_ways(partial(sdpa, *dense, is_causal=True), dense, device) / 1e12
            said.append(
                f"d{width} S{length}: documents {ours:.2f}, dense causal {plain:.2f}{_flex(dense, work, device)}"
            )
    return "TFLOP/s: " + "; ".join(said)


def _flex(given: list[Any], work: float, device: str) -> str:
    """Return what flex_attention makes of dense causal rows; it has no backward pass on CPUs."""
    if device == "cpu":
        return ""
    import torch
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    length = given[0].shape[2]
    mask = create_block_mask(lambda b, h, q, k: q >= k, None, None, length, length, device=device)
    compiled = torch.compile(flex_attention)
    seconds = both_ways(partial(compiled, *given, block_mask=mask, enable_gqa=True), given, device)
    return f", flex {work / seconds / 1e12:.2f}"


def dense_mask(device: str, size: int) -> str:
    """(d) What a dense block mask costs beside attention over documents."""
    import torch

    given = tensors(32, 8, size, 64, device)
    lengths = [size // 8] * 8
    mask = torch.block_diag(*(torch.ones(one, one, device=device).tril() for one in lengths)).bool()
    masked = both_ways(partial(sdpa, *given, attn_mask=mask), given, device)
    apart = both_ways(partial(by_documents, *given, lengths), given, device)
    return f"8 documents in {size} tokens: dense mask {masked * 1e3:.1f} ms, by documents {apart * 1e3:.1f} ms"


def through_cudnn(device: str, size: int) -> str:
    """(e) torch's varlen attention with its cuDNN path, which torch keeps switched off."""
    from unittest.mock import patch

    from torch.nn.attention import varlen

    if device == "cpu" or not hasattr(varlen, "_should_use_cudnn"):
        return "not here"
    given, lengths = tensors(32, 8, size, 64, device), [size // 2, size // 4, size // 4]
    usual = by_documents(*given, lengths)
    with patch.object(varlen, "_should_use_cudnn", lambda *_, **__: True):
        other = by_documents(*given, lengths)
        seconds = timed(lambda: by_documents(*given, lengths), device)
    apart = float((usual - other).float().norm() / usual.float().norm())
    return f"relative difference {apart:.1e}, {seconds * 1e3:.2f} ms forward"


def decoding(device: str, shape: str) -> str:
    """(f) Milliseconds of a decoding step, one row."""
    import gpu_models
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    kind = torch.bfloat16 if device == "cuda" else torch.float32
    model = LlamaForCausalLM(LlamaConfig(**gpu_models.SHAPES[shape])).to(device, kind).eval()
    prompt = torch.randint(2, gpu_models.SHAPES[shape]["vocab_size"], (1, 32), device=device)
    said = []
    for name, settings in (("growing cache", {}), ("static cache, compiled", {"cache_implementation": "static"})):
        if settings and device == "cpu":
            continue

        def write(tokens: int, settings: dict[str, Any] = settings) -> None:
            model.generate(prompt, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, **settings)

        long, short = (timed(lambda tokens=tokens: write(tokens), device, repeats=2) for tokens in (72, 8))
        said.append(f"{name} {(long - short) / 64 * 1e3:.2f} ms")
    return ", ".join(said)


def trl_step(device: str, shape: str) -> str:
    """(g) One step of TRL's SFT under the transformers installed here."""
    import gpu
    import gpu_models
    import transformers
    import trl

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        gpu_models.make_model(shape, folder / "model")
        job = {
            "kind": "lora", "side": "TRL tuned", "model": str(folder / "model"), "length": 256, "steps": 1, "rows": 1,
            "rows_a_step": 1, "vocabulary": gpu_models.SHAPES[shape]["vocab_size"], "learning_rate": 1e-4,
            "checkpointing": False,
        }  # fmt: skip
        losses, _ = gpu.trl(job, folder / "out")
    return f"trl {trl.__version__} with transformers {transformers.__version__}: loss {losses[0]:.3f}"


def main(*, tiny: bool) -> None:
    """Go through the list."""
    import torch

    device = "cuda" if torch.cuda.is_available() and not tiny else "cpu"
    size, long, lengths = (256, 512, (64, 128)) if tiny else (4096, 16384, (512, 2048, 8192))
    rows, shape = (256, "tiny") if tiny else (16384, "1b")
    items: dict[str, Callable[[], str]] = {
        "a": lambda: kernels(device, size),
        "b": lambda: exactness(device, size),
        "c": lambda: speeds(device, lengths, rows),
        "d": lambda: dense_mask(device, long),
        "e": lambda: through_cudnn(device, size),
        "f": lambda: decoding(device, shape),
        "g": lambda: trl_step(device, shape),
    }
    for letter, item in items.items():
        try:
            said = item()
        except Exception as error:
            said = f"FAILED: {type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
        print(f"({letter}) {said}", flush=True)
