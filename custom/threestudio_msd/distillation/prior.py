"""Priors made of plain denoisers, and guidance (Eq. 13), the same rule for every prior."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial

import torch

from .protocols import Batch, Denoiser, Level, Schedule


@dataclass(frozen=True)
class PlainPrior:
    """An unconditional denoiser as a prior: guidance changes nothing.

    Attributes:
        denoiser: D(z, sigma).
        schedule: The noise levels it was trained on.
    """

    denoiser: Denoiser
    schedule: Schedule
    scale: float = 1.0

    def at(self, scale: float) -> Denoiser:
        return self.denoiser

    def direction(self, z: Batch, sigma: Level) -> Batch:
        return torch.zeros_like(z)


class GuidedPrior(ABC):
    """Guidance of any kind: D_w = D_0 + w d, D_0 unconditional and d the direction (Eq.
    13; Ho & Salimans 2021).

    A branch whose weight is zero is never evaluated: at w = 0 that is the direction, at
    w = 1 the unconditional denoiser.

    Attributes:
        schedule: The noise levels.
        scale: w in force.
        unconditional: D_0 alone.
        conditional: D_1 alone.
    """

    schedule: Schedule
    scale: float
    unconditional: Denoiser
    conditional: Denoiser

    @property
    def denoiser(self) -> Denoiser:
        return self.at(self.scale)

    def at(self, scale: float) -> Denoiser:
        single = {0.0: self.unconditional, 1.0: self.conditional}
        return single.get(float(scale), partial(self._extrapolated, scale))

    def direction(self, z: Batch, sigma: Level) -> Batch:
        return self.branches(z, sigma)[1]

    def _extrapolated(self, scale: float, z: Batch, sigma: Level) -> Batch:
        unconditional, direction = self.branches(z, sigma)
        return unconditional + scale * direction

    @abstractmethod
    def branches(self, z: Batch, sigma: Level) -> tuple[Batch, Batch]:
        """Evaluate D_0 and the direction d."""


@dataclass(frozen=True)
class PairPrior(GuidedPrior):
    """Guidance of one denoiser away from another: classifier-free, or from a weaker
    model (Karras et al. 2024).

    Attributes:
        conditional: D_1, the better denoiser.
        unconditional: D_0, the denoiser that guidance leads away from.
        schedule: The noise levels of both.
        scale: w.
    """

    conditional: Denoiser
    unconditional: Denoiser
    schedule: Schedule
    scale: float

    def branches(self, z: Batch, sigma: Level) -> tuple[Batch, Batch]:
        unconditional = self.unconditional(z, sigma)
        return unconditional, self.conditional(z, sigma) - unconditional
