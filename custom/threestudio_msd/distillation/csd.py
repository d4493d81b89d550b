"""Classifier score distillation: guidance alone, without the prior's own score and
without noise.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..fields import pair
from ..papers import YU
from .protocols import Batch, Level, Prior
from .timed import TimedEstimator


@dataclass(frozen=True)
class CSD(TimedEstimator):
    """Classifier score distillation: g = w(t) (eps_cond(z) - eps_uncond(z)), z = y +
    sigma n, w = 1 - abar (Yu et al. 2023, Eq. 6 and 7).

    This is what classifier-free guidance adds to SDS, per unit of its scale: for the
    same t and n, SDS at scale w equals SDS at scale 1 plus (w - 1) times this. The
    prior's own scale has no effect. A call returns an `Estimate` at the cost of one
    evaluation.

    Args:
        time_range: Least and greatest diffusion time in [0, 1]; t is drawn uniformly in
            between for every sample.

    Raises:
        FieldError: The times do not ascend, or are outside [0, 1].
    """

    paper = YU
    time_range: tuple[float, float] = pair((0.02, 0.98), least=0, most=1)

    def residual(self, y: Batch, z: Batch, sigma: Level, prior: Prior) -> tuple[Batch, Batch | None]:
        # eps_cond - eps_uncond = (z - D_cond)/sigma - (z - D_uncond)/sigma
        return -prior.direction(z, sigma), None
