"""Priors made of plain denoisers, and guidance (Eq. 13), the same rule for every prior."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial

import torch

from .protocols import Batch, Denoiser, Level, Schedule


@dataclass(frozen=True)
class PlainPrior:
    """A `Prior` made of one unconditional denoiser: guidance has no effect.

    `at(scale)` returns `denoiser` for every scale, and `direction(z, sigma)` zeros.

    Attributes:
        denoiser: D(z, sigma).
        schedule: The noise levels that it was trained on.
        scale: Guidance scale, without effect.
    """

    denoiser: Denoiser
    schedule: Schedule
    scale: float = 1.0

    def at(self, scale: float) -> Denoiser:
        return self.denoiser

    def direction(self, z: Batch, sigma: Level) -> Batch:
        return torch.zeros_like(z)


class GuidedPrior(ABC):
    """Base of priors with guidance: D_w = D_0 + w d, D_0 the unconditional denoiser and
    d = D_1 - D_0 (Eq. 13; Ho & Salimans 2021).

    `at(w)` returns the denoiser D_w, and `denoiser` is the one at `scale`. At w = 0
    only D_0 is evaluated, at w = 1 only D_1. A subclass defines `branches`, which
    evaluates D_0 and d together.

    Attributes:
        schedule: The noise levels.
        scale: The guidance scale w in force.
        unconditional: D_0.
        conditional: D_1.
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
        """Return the unconditional estimate D_0(z, sigma), and the difference d that
        the guidance scale multiplies.

        Both are shaped like z; the guided estimate is D_0 + w d.
        """


@dataclass(frozen=True)
class PairPrior(GuidedPrior):
    """A prior that guides one denoiser away from another, D_w = D_0 + w (D_1 - D_0).

    This is classifier-free guidance, or guidance by a weaker model (Karras et al.
    2024).

    Attributes:
        conditional: D_1, the better denoiser.
        unconditional: D_0, the denoiser that guidance leads away from.
        schedule: The noise levels of both.
        scale: The guidance scale w in force.
    """

    conditional: Denoiser
    unconditional: Denoiser
    schedule: Schedule
    scale: float

    def branches(self, z: Batch, sigma: Level) -> tuple[Batch, Batch]:
        unconditional = self.unconditional(z, sigma)
        return unconditional, self.conditional(z, sigma) - unconditional
