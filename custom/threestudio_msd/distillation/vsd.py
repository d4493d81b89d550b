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
    """g = w(t) (eps_hat(z) - eps_phi(z)), z = y + sigma n, w = 1 - abar (Wang et al.
    2023b, Eq. 9).

    Args:
        phi: The denoiser of the renders' own distribution; the caller trains it.
        time_range: Least and greatest diffusion time; t is drawn uniformly in between.
    """

    paper = WANG
    nfe = 2
    phi: Denoiser
    time_range: tuple[float, float] = pair((0.02, 0.98), least=0, most=1)

    def residual(self, y: Batch, z: Batch, sigma: Level, prior: Prior) -> tuple[Batch, Batch]:
        denoised = prior.denoiser(z, sigma)
        return self.phi(z, sigma) - denoised, denoised
