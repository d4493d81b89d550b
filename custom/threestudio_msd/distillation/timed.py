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
    """Base of SDS, CSD and VSD: an estimator whose gradient compares two denoised
    images at one random noise level.

    g = w(t) r(z) / sigma, z = y + sigma n, w = 1 - abar, with t drawn uniformly from
    `time_range` for every sample. A subclass is a frozen dataclass with the field
    `time_range`, and defines r, `residual`.

    Attributes:
        time_range: Least and greatest diffusion time, in [0, 1].
        nfe: Denoiser evaluations per sample.
    """

    time_range: tuple[float, float]
    nfe: ClassVar[int] = 1

    def residual(self, y: Batch, z: Batch, sigma: Level, prior: Prior) -> tuple[Batch, Batch | None]:
        """Compare two denoised images of z; a subclass must define it.

        Args:
            y: Renders, `[B, ...]`.
            z: The renders with noise of level `sigma`, `[B, ...]`.
            sigma: Noise levels, `[B]`.
            prior: The pretrained model under the prompt.

        Returns:
            Reference minus denoised image, r, `[B, ...]`; and the prior's clean
            estimate, `[B, ...]`, for plots, or None if there is no single one.

        Raises:
            NotImplementedError: The class does not define it.
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
    """Return the weight w(t) = 1 - abar = sigma^2 / (1 + sigma^2), shaped like sigma:
    threestudio's `weighting_strategy: sds`.
    """
    return sigma**2 / (1 + sigma**2)
