"""Classifier-free guidance and Perp-Neg: conditional priors around a conditional
denoiser.

All branches of a guided prior go through the network as one batch; a branch of weight
zero is not evaluated (`GuidedPrior`). Guidance is linear in D exactly as it is in
epsilon, since eps = (z - D) / sigma. A prior with B conditions takes `B * M` rows: M
draws of the first condition, then M of the second, and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from ..distillation import GuidedPrior, Schedule, expand
from ..distillation.protocols import Batch, Level
from .denoisers import Condition, ConditionalDenoiser


def batched(conditions: Sequence[Condition]) -> Condition:
    """Concatenate the conditions of several branches along their rows: `[B, ...]` each
    to `[branches * B, ...]`.
    """
    return {name: torch.cat([condition[name] for condition in conditions]) for name in conditions[0]}


def evaluate(
    denoiser: ConditionalDenoiser, z: Batch, sigma: Level, condition: Condition, branches: int = 1
) -> list[Batch]:
    """Denoise the same states under the condition of every branch, in one call of the
    network.

    Args:
        denoiser: Called once, with `branches * B * M` rows.
        z: States, `[B * M, ...]`: M rows for each of B conditions.
        sigma: Level, 0-d or `[B * M]`.
        condition: As `batched` returns it, `[branches * B, ...]`.
        branches: Number of branches.

    Returns:
        D for each branch, `[B * M, ...]`.
    """
    rows = branches * z.shape[0]
    condition = {name: repeated(value, rows) for name, value in condition.items()}
    sigma = sigma if sigma.ndim == 0 else sigma.repeat(branches)
    return list(denoiser(z.repeat(branches, *[1] * (z.ndim - 1)), sigma, condition).chunk(branches))


def repeated(value: torch.Tensor, rows: int) -> torch.Tensor:
    """Repeat every row of a tensor, in its place, until there are `rows` rows, a
    multiple of its own.
    """
    return value if len(value) == rows else value.repeat_interleave(rows // len(value), 0)


@dataclass(frozen=True)
class CFG(GuidedPrior):
    """A prior with classifier-free guidance: D_w = D_uncond + w (D_cond - D_uncond)
    (Eq. 13; Ho & Salimans 2021).

    `at(w)` returns the denoiser D_w, and `denoiser` is the one at `scale`. Both
    branches go through the network as one batch.

    Attributes:
        model: The pretrained model, a conditional denoiser.
        condition: The prompt's condition, B rows.
        empty: The empty prompt's condition, B rows.
        scale: The guidance scale w in force; 1 means no guidance.
    """

    model: ConditionalDenoiser
    condition: Condition
    empty: Condition
    scale: float

    @property
    def schedule(self) -> Schedule:  # type: ignore[override]
        return self.model.schedule

    @cached_property
    def branch_conditions(self) -> Condition:
        """The conditions of all branches, concatenated once for all calls."""
        return batched([self.condition, self.empty])

    def conditional(self, z: Batch, sigma: Level) -> Batch:
        return evaluate(self.model, z, sigma, self.condition)[0]

    def unconditional(self, z: Batch, sigma: Level) -> Batch:
        return evaluate(self.model, z, sigma, self.empty)[0]

    def branches(self, z: Batch, sigma: Level) -> tuple[Batch, Batch]:
        """Return D_uncond(z, sigma) and the difference D_cond - D_uncond, which the
        guidance scale multiplies, both shaped like z.
        """
        cond, uncond = evaluate(self.model, z, sigma, self.branch_conditions, 2)
        return uncond, cond - uncond


@dataclass(frozen=True)
class PerpNeg(CFG):
    """A prior with Perp-Neg guidance (Armandpour et al. 2023): a negative prompt acts
    only perpendicular to the positive one.

    D_w = D_uncond + w (d + sum_i w_i perp(d_i, d)), d = D_cond - D_uncond, d_i =
    D_neg_i - D_uncond, with threestudio's weights w_i. `at(w)` returns the denoiser
    D_w.

    Attributes:
        negatives: Conditions of the negative prompts, B rows each.
        weights: Their weights w_i, usually negative, `[B, len(negatives)]`.
    """

    negatives: Sequence[Condition]
    weights: Batch

    @cached_property
    def branch_conditions(self) -> Condition:
        return batched([self.condition, self.empty, *self.negatives])

    def conditional(self, z: Batch, sigma: Level) -> Batch:
        """Return D_w(z, sigma) at w = 1, shaped like z; it needs every branch, as the
        unconditional one does not cancel.
        """
        unconditional, direction = self.branches(z, sigma)
        return unconditional + direction

    def branches(self, z: Batch, sigma: Level) -> tuple[Batch, Batch]:
        """Return D_uncond(z, sigma), and the sum that the guidance scale multiplies, d
        + sum_i w_i perp(d_i, d), both shaped like z.

        d = D_cond - D_uncond is the prompt's difference, and d_i = D_neg_i - D_uncond
        that of a negative prompt.
        """
        cond, uncond, *negatives = evaluate(
            self.model, z, sigma, self.branch_conditions, 2 + len(self.negatives)
        )
        positive = direction = cond - uncond
        weights = repeated(self.weights, z.shape[0])
        for i, negative in enumerate(negatives):
            direction = direction + expand(weights[:, i], z) * perpendicular(negative - uncond, positive)
        return uncond, direction


def perpendicular(x: Batch, y: Batch) -> Batch:
    """Return the component of x perpendicular to y, sample by sample, shaped like x; x
    itself if y is zero.
    """
    dot = expand((x * y).flatten(1).sum(1), x)
    squared = expand(y.square().flatten(1).sum(1), x)
    return x - torch.where(squared > 0, dot / squared.clamp(min=torch.finfo(x.dtype).tiny), 0.0) * y
