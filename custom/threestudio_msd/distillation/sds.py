"""Score distillation sampling, the baseline: its gradient averages the modes that a
noisy render may come from.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..fields import pair
from ..papers import POOLE
from .protocols import Batch, Level, Prior
from .timed import TimedEstimator


@dataclass(frozen=True)
class SDS(TimedEstimator):
    """Score distillation sampling: g = w(t) (eps_hat(z) - n), z = y + sigma n, w = 1 -
    abar (Poole et al. 2022, Eq. 3; Eq. 1 of the paper).

    A call returns an `Estimate` at the cost of one evaluation.

    Args:
        time_range: Least and greatest diffusion time in [0, 1]; t is drawn uniformly in
            between for every sample.

    Raises:
        FieldError: The times do not ascend, or are outside [0, 1].
    """

    paper = POOLE
    time_range: tuple[float, float] = pair((0.02, 0.98), least=0, most=1)

    def residual(self, y: Batch, z: Batch, sigma: Level, prior: Prior) -> tuple[Batch, Batch]:
        denoised = prior.denoiser(z, sigma)
        return y - denoised, denoised  # eps_hat - n = (z - D)/sigma - (z - y)/sigma
