"""Guidance: conditional priors, from a conditional denoiser and what it is conditioned on.

All branches of a guide go through the network as one batch, and a branch that has no weight not at all
(`GuidedPrior`). Guides are linear in D exactly as they are in epsilon, since eps = (z - D) / sigma. A guide
for B conditions takes batches of `B * M` rows laid sample by sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from ..distillation import GuidedPrior, Schedule, expand
from ..distillation.protocols import Batch, Level
from .denoisers import Condition, ConditionalDenoiser

Stacks = dict[tuple[int, ...], Condition]
"""Conditions laid under one another, by their identities and the rows they were laid out for."""


def evaluate(
    denoiser: ConditionalDenoiser,
    z: Batch,
    sigma: Level,
    conditions: Sequence[Condition],
    stacks: Stacks | None = None,
) -> list[Batch]:
    """Denoise the same rows under several conditions, in one batch.

    Args:
        denoiser: The conditional denoiser.
        z: States, `[B * M, ...]`.
        sigma: Level, 0-d or `[B * M]`.
        conditions: Conditions of B rows each.
        stacks: Where stacked conditions are kept for further calls with the very same ones.

    Returns:
        One `[B * M, ...]` a condition.
    """
    rows, branches = z.shape[0], len(conditions)
    stacks, key = {} if stacks is None else stacks, (rows, *map(id, conditions))
    if key not in stacks:
        stacks[key] = stacked(conditions, rows)
    sigma = sigma if sigma.ndim == 0 else sigma.repeat(branches)
    return list(denoiser(z.repeat(branches, *[1] * (z.ndim - 1)), sigma, stacks[key]).chunk(branches))


def stacked(conditions: Sequence[Condition], rows: int) -> Condition:
    """Conditions laid under one another, each repeated to so many rows."""
    return {
        name: torch.cat([c[name].repeat_interleave(rows // c[name].shape[0], 0) for c in conditions])
        for name in conditions[0]
    }


@dataclass(frozen=True)
class CFG(GuidedPrior):
    """Classifier-free guidance: D = D_uncond + w (D_cond - D_uncond) (Eq. 13; Ho & Salimans 2021).

    Attributes:
        model: The pretrained model, a conditional denoiser.
        condition: The prompt.
        empty: The empty prompt.
        scale: w; 1 means none.
    """

    model: ConditionalDenoiser
    condition: Condition
    empty: Condition
    scale: float
    _stacks: Stacks = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def schedule(self) -> Schedule:
        """The model's noise levels."""
        return self.model.schedule

    def conditional(self, z: Batch, sigma: Level) -> Batch:
        """D_cond alone."""
        return evaluate(self.model, z, sigma, [self.condition], self._stacks)[0]

    def unconditional(self, z: Batch, sigma: Level) -> Batch:
        """D_uncond alone."""
        return evaluate(self.model, z, sigma, [self.empty], self._stacks)[0]

    def branches(self, z: Batch, sigma: Level) -> tuple[Batch, Batch]:
        """D_uncond, and D_cond - D_uncond."""
        cond, uncond = evaluate(self.model, z, sigma, [self.condition, self.empty], self._stacks)
        return uncond, cond - uncond


@dataclass(frozen=True)
class PerpNeg(CFG):
    """Perp-Neg (Armandpour et al. 2023): negative prompts act only perpendicular to the positive one.

    D = D_uncond + w (d + sum_i w_i perp(d_i, d)), d = D_cond - D_uncond, d_i = D_neg_i - D_uncond, with
    threestudio's weights.

    Attributes:
        negatives: The negative prompts.
        weights: Their weights w_i, usually negative, `[B, len(negatives)]`.
    """

    negatives: Sequence[Condition]
    weights: Batch

    def conditional(self, z: Batch, sigma: Level) -> Batch:
        """D at w = 1, where the unconditional branch does not cancel: every branch is needed."""
        unconditional, direction = self.branches(z, sigma)
        return unconditional + direction

    def branches(self, z: Batch, sigma: Level) -> tuple[Batch, Batch]:
        """D_uncond, and the direction with the negative prompts'."""
        cond, uncond, *negatives = evaluate(
            self.model, z, sigma, [self.condition, self.empty, *self.negatives], self._stacks
        )
        positive = direction = cond - uncond
        weights = self.weights.repeat_interleave(z.shape[0] // self.weights.shape[0], 0)
        for i, negative in enumerate(negatives):
            direction = direction + expand(weights[:, i], z) * perpendicular(negative - uncond, positive)
        return uncond, direction


def perpendicular(x: Batch, y: Batch) -> Batch:
    """The component of x perpendicular to y, sample by sample; x itself where y is zero."""
    dot = expand((x * y).flatten(1).sum(1), x)
    squared = expand(y.square().flatten(1).sum(1), x)
    return x - torch.where(squared > 0, dot / squared.clamp(min=torch.finfo(x.dtype).tiny), 0.0) * y
