"""How several weights become one: pure functions of tensors, each in float32.

Task vectors are differences from the base (Ilharco et al. 2022, https://arxiv.org/abs/2212.04089). TIES keeps the
largest, elects a sign and averages what agrees (Yadav et al. 2023, https://arxiv.org/abs/2306.01708); DARE drops
at random and rescales (Yu et al. 2023, https://arxiv.org/abs/2311.03099); both are peft's functions,
which get the whole differences B A here, as in the papers. peft's `add_weighted_adapter` applies them to A and B apart
(`linear`: the product of the sums, so with terms B1 A2; tests/finetune/test_merge_kinds.py); only its `cat`, and its
`svd` kinds at full rank, come to what stands here. SLERP turns from one model to the other (Shoemake 1985).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

TASK_VECTORS = ("task_arithmetic", "ties", "dare_linear", "dare_ties")
PRUNING = ("ties", "dare_linear", "dare_ties")
PARALLEL = 1e-6  # radians: below it the turn is a straight line


def linear(tensors: Sequence[torch.Tensor], weights: Sequence[float]) -> torch.Tensor:
    """Return the weighted sum of tensors of one shape."""
    import torch

    total = torch.zeros_like(tensors[0], dtype=torch.float32)
    for tensor, weight in zip(tensors, weights, strict=True):
        total += weight * tensor.float()
    return total


def slerp(first: torch.Tensor, second: torch.Tensor, t: float) -> torch.Tensor:
    """Return the point at `t` (0 to 1) on the arc from one tensor to the other, both seen as one long vector."""
    import torch

    one, other = first.double().flatten(), second.double().flatten()
    norms = one.norm() * other.norm()
    straight = (1 - t) * one + t * other
    if norms == 0:
        return straight.reshape(first.shape).float()
    # The half angle from chord and sum: the cosine alone loses small angles.
    unit_one, unit_other = one / one.norm(), other / other.norm()
    angle = 2 * torch.atan2((unit_one - unit_other).norm(), (unit_one + unit_other).norm())
    if angle < PARALLEL or torch.pi - angle < PARALLEL:
        return straight.reshape(first.shape).float()
    mixed = torch.sin((1 - t) * angle) * one + torch.sin(t * angle) * other
    return (mixed / torch.sin(angle)).reshape(first.shape).float()


def task_vectors(
    method: str,
    base: torch.Tensor,
    tensors: Sequence[torch.Tensor],
    weights: Sequence[float],
    density: float,
    seed: int,
) -> torch.Tensor:
    """Return the base plus the combined differences from it.

    `seed` decides what DARE drops: it is the same whatever was drawn before.
    """
    import torch
    from peft.utils import merge_utils

    deltas = [tensor.float() - base.float() for tensor in tensors]
    scale = torch.tensor(weights, dtype=torch.float32)
    if method == "task_arithmetic":
        combined = merge_utils.task_arithmetic(deltas, scale)
    elif density == 1:
        # peft warns at a density of 1, where nothing is dropped.
        combined = _nothing_dropped(method, deltas, scale)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            combined = getattr(merge_utils, method)(deltas, scale, density)
    return base.float() + combined


def _nothing_dropped(method: str, deltas: list[torch.Tensor], weights: torch.Tensor) -> torch.Tensor:
    import torch
    from peft.utils import merge_utils

    if method == "dare_linear":
        return merge_utils.task_arithmetic(deltas, weights)
    stacked = torch.stack(deltas)
    mask = merge_utils.calculate_majority_sign_mask(stacked)
    return merge_utils.disjoint_merge(stacked * merge_utils.reshape_weight_task_tensors(stacked, weights), mask)


def seed_of(name: str, seed: int) -> int:
    """Return the seed for one tensor: it depends on the recipe's and the tensor's name, not on the order of tensors."""
    # torch's generator on CPUs looks at the low 32 bits only.
    return zlib.crc32(f"{seed}:{name}".encode())
