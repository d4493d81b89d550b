"""Score distillation sampling: the baseline, whose gradient averages the modes that a noisy render may have
come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..fields import check_fields, pair
from ..papers import Paper
from .noise import uniform_sigma
from .protocols import Batch, Estimate, Estimator, Level, Noise, Prior, State
from .tensors import expand


@dataclass(frozen=True)
class SDS(Estimator):
    """g = w(t) (eps_hat(z) - n), z = y + sigma n, w = 1 - abar (Poole et al. 2022, Eq. 3; Eq. 1 of the
    paper).

    Args:
        time_range: Least and greatest diffusion time; t is drawn uniformly in between.
    """

    paper: ClassVar[Paper] = Paper(
        "poole2023dreamfusion",
        "{DreamFusion}: Text-to-{3D} using {2D} Diffusion",
        "Poole, Ben and Jain, Ajay and Barron, Jonathan T. and Mildenhall, Ben",
        2023,
        "ICLR 2023",
        "2209.14988",
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
        denoised = prior.denoiser(z, sigma)
        # eps_hat - n = (z - D)/sigma - (z - y)/sigma
        gradient = expand(sds_weight(sigma) / sigma, y) * (y - denoised)
        return Estimate(y - gradient, gradient, 1, sigma, z, denoised)


def sds_weight(sigma: Level) -> Level:
    """w(t) = 1 - abar = sigma^2 / (1 + sigma^2), threestudio's weighting `sds`."""
    return sigma**2 / (1 + sigma**2)
