"""Variational score distillation: SDS with the renders' own denoiser in the place of the noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..fields import check_fields, pair
from ..papers import Paper
from .noise import uniform_sigma
from .protocols import Batch, Denoiser, Estimate, Estimator, Noise, Prior, State
from .sds import sds_weight
from .tensors import expand


@dataclass(frozen=True)
class VSD(Estimator):
    """g = w(t) (eps_hat(z) - eps_phi(z)), z = y + sigma n, w = 1 - abar (Wang et al. 2023b, Eq. 9).

    Args:
        phi: The denoiser of the renders' own distribution; training it is the caller's.
        time_range: Least and greatest diffusion time; t is drawn uniformly in between.
    """

    paper: ClassVar[Paper] = Paper(
        "wang2023prolificdreamer",
        "{ProlificDreamer}: High-Fidelity and Diverse Text-to-{3D} Generation with "
        "Variational Score Distillation",
        "Wang, Zhengyi and Lu, Cheng and Wang, Yikai and Bao, Fan and Li, Chongxuan and "
        "Su, Hang and Zhu, Jun",
        2023,
        "NeurIPS 2023",
        "2305.16213",
    )

    phi: Denoiser
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
        # eps_hat - eps_phi = (z - D)/sigma - (z - D_phi)/sigma
        gradient = expand(sds_weight(sigma) / sigma, y) * (self.phi(z, sigma) - denoised)
        return Estimate(y - gradient, gradient, 2, sigma, z, denoised)
