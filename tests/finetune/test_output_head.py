"""The summed loss in chunks against plain cross-entropy, and a training step that never waits for the device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch.utils._python_dispatch import TorchDispatchMode

from finetune import losses, models, output_head, packing


@pytest.mark.parametrize("frozen", [False, True])
def test_chunks_have_the_loss_and_gradients_of_plain_cross_entropy(
    frozen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_head, "CHUNK", 3 * 11)  # three rows of eleven words at a time
    torch.manual_seed(0)
    hidden = torch.randn(2, 10, 5, dtype=torch.float64, requires_grad=True)
    head = torch.nn.Linear(5, 11, bias=False, dtype=torch.float64).requires_grad_(not frozen)
    index, targets = torch.tensor([0, 3, 4, 9, 12, 13, 19]), torch.randint(11, (7,))
    with output_head.summing(head, index, targets):
        loss = head(hidden)
    (3 * loss).backward()
    found = [hidden.grad, head.weight.grad]
    hidden.grad = head.weight.grad = None
    logits = head(hidden).flatten(0, 1)[index]
    plain = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
    (3 * plain).backward()
    torch.testing.assert_close(loss, plain, rtol=1e-12, atol=0)
    torch.testing.assert_close(found, [hidden.grad, head.weight.grad], rtol=1e-11, atol=1e-13)
    with torch.no_grad(), output_head.summing(head, index, targets) as right:
        head(hidden)
    assert int(right[0]) == int((logits.argmax(-1) == targets).sum())


def test_many_chunks_in_bfloat16_lose_no_more_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    hidden, weight, targets = torch.randn(512, 8), torch.randn(40, 8) / 20, torch.randint(4, (512,))

    def gradient(kind: torch.dtype, rows: int) -> torch.Tensor:
        monkeypatch.setattr(output_head, "CHUNK", rows * 40)
        leaf = weight.to(kind).requires_grad_()
        output_head.SummedLoss.apply(hidden.to(kind), leaf, targets, True)[0].backward()
        assert leaf.grad is not None and leaf.grad.dtype == kind
        return leaf.grad.double()

    exact = gradient(torch.float64, 512)
    whole, cut = (float((gradient(torch.bfloat16, rows) - exact).norm() / exact.norm()) for rows in (512, 4))
    assert cut < 1.2 * whole < 0.01


def test_a_batch_without_any_target_has_no_loss_and_no_gradient(tiny_model_dir: Path) -> None:
    model = models.load(str(tiny_model_dir), trainable=True).model
    loss, _ = losses.causal_lm_loss(model, packing.collate_packed([{"input_ids": [5, 6], "mask": [1, 0]}]))
    loss.backward()
    assert float(loss) == 0.0 and not any(one.grad.any() for one in model.parameters() if one.grad is not None)


def test_only_architectures_that_leave_their_logits_alone_are_taken() -> None:
    taken = ("Llama", "Qwen2", "Qwen3", "Mistral", "Phi3", "Gemma", "GPTNeoX", "Mixtral", "SmolLM3", "Olmo2")
    left = ("Gemma2", "Cohere", "Granite", "Gemma3n")
    for name in (*taken, *left):
        assert output_head._logits_stay(getattr(transformers, f"{name}ForCausalLM")) == (name in taken), name
    assert output_head._logits_stay(transformers.GPT2LMHeadModel)


class _Waits(TorchDispatchMode):
    """Counts what makes the host wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero"):
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("packed", [False, True])
def test_no_step_waits_for_the_device(tiny_model_dir: Path, packed: bool) -> None:
    model = models.load(str(tiny_model_dir), trainable=True).model
    collate = packing.collate_for(model) if packed else packing.collate_tokens
    batch = collate([{"input_ids": list(range(5, 40)), "mask": [0] * 10 + [1] * 25}, {"input_ids": [7, 8, 9]}])
    with _Waits() as waits:
        loss, _ = losses.causal_lm_loss(model, batch)
        (loss / batch["count"]).backward()
    # Without our attention transformers looks once whether the position ids are those of packed documents.
    assert len(waits.found) <= (0 if packed else 1)
    with _Waits() as waits:  # what the count would have shown
        bool(loss > 0)
    assert waits.found
