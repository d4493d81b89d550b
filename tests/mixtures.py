"""The exact oracle of the method's tests: an isotropic Gaussian mixture, whose denoiser has a closed form."""

from __future__ import annotations

import torch
from threestudio_msd.distillation import KarrasSchedule, PlainPrior, expand
from torch import Tensor


class Mixture:
    """Components N(mean_k, std^2 I) of equal weight in any dimension."""

    def __init__(self, means: Tensor, std: float) -> None:
        self.means, self.std = means, std

    def __call__(self, z: Tensor, sigma: Tensor) -> Tensor:
        """D(z, sigma) = sum_k w_k(z) (mean_k + std^2 / (std^2 + sigma^2) (z - mean_k))."""
        variance = self.std**2 + expand(sigma, z) ** 2  # [B, 1]
        offset = z[:, None] - self.means  # [B, K, dim]
        weights = (-offset.square().sum(-1) / (2 * variance)).softmax(-1)
        denoised = self.means + (self.std**2 / variance)[..., None] * offset
        return (weights[..., None] * denoised).sum(1)

    def log_density(self, z: Tensor, sigma: float = 0.0) -> Tensor:
        """Log-density of the mixture noised by sigma, up to the constant of its weights, `[B]`."""
        variance = self.std**2 + sigma**2
        squared = (z[:, None] - self.means).square().sum(-1)
        dim = z.shape[1]
        return (-squared / (2 * variance)).logsumexp(1) - dim / 2 * torch.tensor(
            2 * torch.pi * variance
        ).log()

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Exact samples, `[n, dim]`."""
        k = torch.randint(len(self.means), (n,), generator=generator)
        return self.means[k] + self.std * torch.randn(n, self.means.shape[1], generator=generator)


def triangle(std: float = 0.1) -> Mixture:
    """Three modes in the plane."""
    return Mixture(torch.tensor([[1.0, 0.0], [-1.0, 0.5], [0.0, -1.0]]), std)


def exact_prior(mixture: Mixture) -> PlainPrior:
    """The mixture with a continuous schedule."""
    return PlainPrior(mixture, KarrasSchedule(0.002, 5.0))
