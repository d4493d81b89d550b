"""Classifier score distillation: guidance alone, without the prior's own score and without noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..fields import check_fields, pair
from ..papers import Paper
from .noise import uniform_sigma
from .protocols import Batch, Estimate, Estimator, Noise, Prior, State
from .sds import sds_weight
from .tensors import expand


@dataclass(frozen=True)
class CSD(Estimator):
    """g = w(t) (eps_cond(z) - eps_uncond(z)), z = y + sigma n, w = 1 - abar (Yu et al. 2023, Eq. 6 and 7).

    It is what CFG adds to SDS, per unit of its scale: SDS at scale w is SDS at scale 1 plus (w - 1) times
    this, for the same t and n. The prior's scale plays no part.

    Args:
        time_range: Least and greatest diffusion time; t is drawn uniformly in between.
    """

    paper: ClassVar[Paper] = Paper(
        "yu2023text",
        "Text-to-{3D} with Classifier Score Distillation",
        "Yu, Xin and Guo, Yuan-Chen and Li, Yangguang and Liang, Ding and Zhang, Song-Hai and Qi, Xiaojuan",
        2023,
        "ICLR 2024",
        "2310.19415",
    )

    time_range: tuple[float, float] = pair((0.02, 0.98), least=0, most=1)

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(
        self, y: Batch, prior: Prior, noise: Noise, progress: float, state: State | None = None
    ) -> Estimate:
        """Estimate the gradient; see `Estimator`."""
        sigma = uniform_sigma(noise, y, prior.schedule, self.time_range)
        z = y + expand(sigma, y) * noise(y)
        # eps_cond - eps_uncond = (z - D_cond)/sigma - (z - D_uncond)/sigma
        gradient = -expand(sds_weight(sigma) / sigma, y) * prior.direction(z, sigma)
        return Estimate(y - gradient, gradient, 1, sigma, z)
