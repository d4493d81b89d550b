"""Guidance: from a conditional denoiser and what it is conditioned on to a plain denoiser `(z, sigma) -> x0`.

All branches of a guide go through the network as one batch. Guides are linear in D exactly as they are in
epsilon, since eps = (z - D) / sigma. A guide for B conditions takes batches of `B * M` rows laid sample by
sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..distillation import Denoiser, expand
from .networks import Condition, ConditionalDenoiser


def evaluate(
    network: ConditionalDenoiser, z: Tensor, sigma: Tensor, conditions: Sequence[Condition]
) -> list[Tensor]:
    """Denoise the same rows under several conditions, in one batch.

    Args:
        network: The conditional denoiser.
        z: States, `[B * M, ...]`.
        sigma: Level, 0-d or `[B * M]`.
        conditions: Conditions of B rows each.

    Returns:
        One `[B * M, ...]` a condition.
    """
    rows, branches = z.shape[0], len(conditions)
    stacked = {
        name: torch.cat([c[name].repeat_interleave(rows // c[name].shape[0], 0) for c in conditions])
        for name in conditions[0]
    }
    sigma = sigma.expand(rows).repeat(branches)
    return list(network(z.repeat(branches, *[1] * (z.ndim - 1)), sigma, stacked).chunk(branches))


@dataclass(frozen=True)
class Conditional:
    """No guidance: the conditional denoiser itself (w = 1)."""

    network: ConditionalDenoiser
    condition: Condition

    def __call__(self, z: Tensor, sigma: Tensor) -> Tensor:
        """D(z, sigma | condition)."""
        return evaluate(self.network, z, sigma, [self.condition])[0]


@dataclass(frozen=True)
class CFG:
    """Classifier-free guidance: D = D_uncond + w (D_cond - D_uncond) (Eq. 13; Ho & Salimans 2021); w = 1 means none."""

    network: ConditionalDenoiser
    condition: Condition
    unconditional: Condition
    scale: float

    def __call__(self, z: Tensor, sigma: Tensor) -> Tensor:
        """The guided denoiser."""
        cond, uncond = evaluate(self.network, z, sigma, [self.condition, self.unconditional])
        return uncond + self.scale * (cond - uncond)


@dataclass(frozen=True)
class PerpNeg:
    """Perp-Neg (Armandpour et al. 2023): negative prompts act only perpendicular to the positive one.

    D = D_uncond + w (d + sum_i w_i perp(d_i, d)), d = D_cond - D_uncond, d_i = D_neg_i - D_uncond, with
    threestudio's weights.

    Attributes:
        network: The conditional denoiser.
        condition: The positive prompt.
        unconditional: The empty prompt.
        negatives: The negative prompts.
        weights: Their weights w_i, usually negative, `[B, len(negatives)]`.
        scale: w.
    """

    network: ConditionalDenoiser
    condition: Condition
    unconditional: Condition
    negatives: Sequence[Condition]
    weights: Tensor
    scale: float

    def __call__(self, z: Tensor, sigma: Tensor) -> Tensor:
        """The guided denoiser."""
        cond, uncond, *negatives = evaluate(
            self.network, z, sigma, [self.condition, self.unconditional, *self.negatives]
        )
        positive = direction = cond - uncond
        weights = self.weights.repeat_interleave(z.shape[0] // self.weights.shape[0], 0)
        for i, negative in enumerate(negatives):
            direction = direction + expand(weights[:, i], z) * perpendicular(negative - uncond, positive)
        return uncond + self.scale * direction


@dataclass(frozen=True)
class Autoguidance:
    """Guidance by a weaker model: D = D_weak + w (D - D_weak) (Karras et al. 2024)."""

    denoiser: Denoiser
    weak: Denoiser
    scale: float

    def __call__(self, z: Tensor, sigma: Tensor) -> Tensor:
        """The guided denoiser."""
        weak = self.weak(z, sigma)
        return weak + self.scale * (self.denoiser(z, sigma) - weak)


def perpendicular(x: Tensor, y: Tensor) -> Tensor:
    """The component of x perpendicular to y, sample by sample, `[B, ...]`; x itself where y is zero."""
    dot = expand((x * y).flatten(1).sum(1), x)
    squared = expand(y.square().flatten(1).sum(1), x)
    return x - torch.where(squared > 0, dot / squared.clamp(min=torch.finfo(x.dtype).tiny), 0.0) * y
