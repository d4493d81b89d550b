"""Variational score distillation: SDS with the renders' own denoiser in place of the
noise.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..fields import pair
from ..papers import WANG
from .protocols import Batch, Denoiser, Level, Prior
from .timed import TimedEstimator


@dataclass(frozen=True)
class VSD(TimedEstimator):
    """Variational score distillation: g = w(t) (eps_hat(z) - eps_phi(z)), z = y + sigma
    n, w = 1 - abar (Wang et al. 2023b, Eq. 9).

    A call returns an `Estimate` at the cost of two evaluations.

    Args:
        phi: The denoiser of the renders' own distribution, which the caller trains.
        time_range: Least and greatest diffusion time in [0, 1]; t is drawn uniformly in
            between for every sample.

    Raises:
        FieldError: The times do not ascend, or are outside [0, 1].
    """

    paper = WANG
    nfe = 2
    phi: Denoiser
    time_range: tuple[float, float] = pair((0.02, 0.98), least=0, most=1)

    def residual(self, y: Batch, z: Batch, sigma: Level, prior: Prior) -> tuple[Batch, Batch]:
        denoised = prior.denoiser(z, sigma)
        return self.phi(z, sigma) - denoised, denoised
