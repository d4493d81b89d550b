"""The head that SDS, CSD and VSD share: noise the render, compare denoisers, weigh the
difference.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from ..fields import Checked
from .noise import uniform_sigma
from .protocols import Batch, Estimate, Estimator, Level, Noise, Prior, State
from .tensors import expand


class TimedEstimator(Checked, Estimator):
    """g = w(t) r(z) / sigma, z = y + sigma n, w = 1 - abar, t drawn uniformly from
    `time_range`.

    A subclass is a frozen dataclass with the field `time_range`, (least, greatest)
    diffusion time in [0, 1], and defines r, `residual`.
    """

    time_range: tuple[float, float]
    nfe: ClassVar[int] = 1

    def residual(self, y: Batch, z: Batch, sigma: Level, prior: Prior) -> tuple[Batch, Batch | None]:
        """Compare two denoised images of z, the render y noised to the level sigma, `[B]`.

        Returns:
            Reference minus denoised, r, `[B, ...]`; and the prior's clean estimate, for
            plots, None where there is no single one.
        """
        raise NotImplementedError

    @torch.no_grad()
    def __call__(
        self, y: Batch, prior: Prior, noise: Noise, progress: float, state: State | None = None
    ) -> Estimate:
        sigma = uniform_sigma(noise, y, prior.schedule, self.time_range)
        z = y + expand(sigma, y) * noise(y)
        difference, denoised = self.residual(y, z, sigma, prior)
        gradient = expand(sds_weight(sigma) / sigma, y) * difference
        return Estimate(y - gradient, gradient, self.nfe, sigma, z, denoised)


def sds_weight(sigma: Level) -> Level:
    """w(t) = 1 - abar = sigma^2 / (1 + sigma^2), threestudio's weighting `sds`."""
    return sigma**2 / (1 + sigma**2)
