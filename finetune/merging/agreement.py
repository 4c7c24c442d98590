"""Do two models say the same? Their logits on the same token sequences, one sequence at a time, in float32.

Sequences come from a file of the recipe, or from a few sentences of plain English; new tokens of an extended vocabulary
are always among them. A comparison says by how much logits differ, the KL divergence in nats per position, and at how
many positions both put the same token first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from recipes.errors import UserError

if TYPE_CHECKING:
    import torch

TEXTS = (
    "The old lighthouse keeper counted 127 steps every morning before the sun rose over the bay.",
    "Water boils at 100 degrees at sea level; on a high mountain it boils sooner. Why is that?",
    "def mean(values):\n    return sum(values) / len(values)\n",
    "Dear Ms. Ortega, thank you for your letter of 3 May. We have looked into your question and found no mistake.",
    "Einige Wörter sind hier nicht englisch: naïve, jalapeño, Straße, 東京.",
)
LONGEST = 256  # tokens of one sequence
MOST = 1024  # tokens of all sequences: their logits are held in memory
ARITHMETIC = 1e-4  # of the largest logit: float32 sums in another order
STORED = {"float32": ARITHMETIC, "float16": 1e-2, "bfloat16": 1e-1}


@dataclass(frozen=True)
class Agreement:
    """How far apart two models' logits are: `relative` is the largest difference as a share of the largest logit."""

    max_difference: float
    relative: float
    kl: float
    top1: float
    positions: int

    def rounded(self) -> dict[str, float]:
        """Return the figures for a manifest."""
        return {name: float(f"{value:.4g}") for name, value in asdict(self).items()}


def sequences(tokenizer: Any, file: str | None = None, extra: Sequence[int] = ()) -> list[list[int]]:
    """Return token sequences to compare on; `extra` ids (new tokens) make a sequence of their own.

    Raises:
        UserError: the file's rows hold no text.
    """
    texts = _texts(file) if file else TEXTS
    found: list[list[int]] = [list(extra)[:LONGEST]] if extra else []
    left = MOST
    for text in texts:
        ids = tokenizer(text, truncation=True, max_length=min(LONGEST, left))["input_ids"]
        if ids:
            found.append(ids)
            left -= len(ids)
        if left < 2:
            break
    return found


def _texts(file: str) -> list[str]:
    from data_prep.records import numbered_rows

    found = []
    for number, row in numbered_rows(file):
        text = row.get("text") or row.get("prompt")
        if isinstance(row.get("messages"), list):
            text = "\n".join(str(message.get("content", "")) for message in row["messages"])
        if not isinstance(text, str) or not text:
            raise UserError(f"{file}:{number}", "holds neither text, prompt nor messages", "write rows with a text")
        found.append(text)
        if len(found) == MOST:
            break
    return found


def logits(model: Any, rows: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    """Return the model's float32 logits for each sequence: (T, V), or (1, C) of a classifier of texts."""
    import torch

    model.eval()
    found = []
    with torch.inference_mode():
        for row in rows:
            ids = torch.tensor([list(row)], device=model.device)
            more = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
            scores = model(input_ids=ids, **more).logits.float().cpu()
            found.append(scores.reshape(-1, scores.shape[-1]))
    return found


def compare(before: Sequence[torch.Tensor], after: Sequence[torch.Tensor]) -> Agreement:
    """Compare logits, sequence by sequence; the KL divergence is of `before` from `after`."""
    import torch

    largest = difference = divergence = 0.0
    agreed = positions = 0
    for one, other in zip(before, after, strict=True):
        if not torch.isfinite(other).all():
            return Agreement(float("inf"), float("inf"), float("inf"), 0.0, 0)
        difference = max(difference, float((one - other).abs().max()))
        largest = max(largest, float(one.abs().max()))
        expected, found = one.double().log_softmax(-1), other.double().log_softmax(-1)
        divergence += float((expected.exp() * (expected - found)).sum())
        agreed += int((one.argmax(-1) == other.argmax(-1)).sum())
        positions += len(one)
    relative = difference / max(1.0, largest)
    return Agreement(difference, relative, max(0.0, divergence / positions), agreed / positions, positions)


def require(found: Agreement, tolerance: float, where: str, what: str) -> None:
    """Refuse to publish a model that says something else than it should.

    Raises:
        UserError: logits differ by more than the tolerance.
    """
    if not found.relative <= tolerance:
        said = f"{what} differ by {found.relative:.3g} of the largest logit (at most {tolerance:.3g} is allowed)"
        detail = f"KL {found.kl:.3g} nats, top-1 agreement {found.top1:.2%}"
        raise UserError(where, f"{said}; {detail}", "write a wider dtype, or a larger check.tolerance if that will do")
