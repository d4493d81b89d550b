"""Gradient estimators: from a render y and a prior to a descent gradient on y. `MSD` and its siblings `SDS`, `VSD`, `SDI`.

All share one interface, `estimator(y, prior, noise, progress) -> Estimate`, with `progress` in [0, 1] the
part of the optimisation done. As a loss, the gradient is that of 0.5 ||y - stopgrad(target)||^2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from .bandwidth import Bandwidth, Linear
from .inversion import invert
from .noise import Noise, repeated
from .product import Posterior, Prior, ProductSampler
from .tensors import expand


@dataclass(frozen=True)
class Estimate:
    """One estimate of the gradient.

    Attributes:
        target: What the render is pulled to, `[B, ...]`: y - gradient.
        gradient: Descent gradient on y, `[B, ...]`.
        calls: Denoiser calls that one sample of the batch took.
        sigma: The level it was taken at, 0-d or `[B]`: lambda for MSD, the noise level for the others.
        noisy: The state the (last) denoiser call saw, where there is one, for plots.
        denoised: The clean estimate before any weighting, `[B, ...]`, for plots.
    """

    target: Tensor
    gradient: Tensor
    calls: int
    sigma: Tensor
    noisy: Tensor | None = None
    denoised: Tensor | None = None


class Estimator(Protocol):
    """Maps a batch of renders to gradients."""

    def __call__(self, y: Tensor, prior: Prior, noise: Noise, progress: float) -> Estimate:
        """Estimate the gradient at every y of `[B, ...]`."""


@dataclass(frozen=True)
class MSD:
    """Mean-shift distillation: g = y - x', x' the mean of `samples` draws of the product density (Eq. 10, 11).

    Args:
        sampler: Product sampler.
        bandwidth: Schedule of lambda.
        samples: M, draws averaged per estimate; the paper uses 1.
    """

    sampler: ProductSampler = field(default_factory=Posterior)
    bandwidth: Bandwidth = field(default_factory=lambda: Linear(1.0, 0.05))
    samples: int = 1

    def __call__(self, y: Tensor, prior: Prior, noise: Noise, progress: float) -> Estimate:
        """Estimate the negative mean-shift vector; see `Estimator`."""
        lam = torch.as_tensor(self.bandwidth(progress), dtype=torch.float32, device=y.device)
        repeat = lambda x: x.repeat_interleave(self.samples, 0) if x.ndim else x  # noqa: E731
        product = self.sampler(repeat(y), repeat(lam), prior, repeated(noise, self.samples))
        target = product.x.unflatten(0, (y.shape[0], self.samples)).mean(1)
        return Estimate(target, y - target, product.calls * self.samples, lam, denoised=target)


@dataclass(frozen=True)
class SDS:
    """Score distillation sampling: g = w(t) (eps_hat(z) - n), w = 1 - abar (Poole et al. 2022, Eq. 3; Eq. 1 of the paper).

    Args:
        time_range: Least and greatest diffusion time; t is drawn uniformly in between.
    """

    time_range: tuple[float, float] = (0.02, 0.98)

    def __call__(self, y: Tensor, prior: Prior, noise: Noise, progress: float) -> Estimate:
        """Estimate the gradient; see `Estimator`."""
        sigma = uniform_sigma(y, prior, noise, self.time_range)
        z = y + expand(sigma, y) * noise(y)
        denoised = prior.denoiser(z, sigma)
        # eps_hat - n = (z - D)/sigma - (z - y)/sigma
        gradient = expand(sds_weight(sigma) / sigma, y) * (y - denoised)
        return Estimate(y - gradient, gradient, 1, sigma, z, denoised)


@dataclass(frozen=True)
class VSD:
    """Variational score distillation: g = w(t) (eps_hat - eps_phi) (Wang et al. 2023b, Eq. 9), w = 1 - abar.

    phi, the denoiser of the renders' own distribution, is `prior.phi`; training it is the caller's.

    Args:
        time_range: Least and greatest diffusion time; t is drawn uniformly in between.
    """

    time_range: tuple[float, float] = (0.02, 0.98)

    def __call__(self, y: Tensor, prior: Prior, noise: Noise, progress: float) -> Estimate:
        """Estimate the gradient; see `Estimator`.

        Raises:
            ValueError: If the prior has no phi.
        """
        if prior.phi is None:
            raise ValueError("VSD needs prior.phi, a denoiser of the renders' distribution")
        sigma = uniform_sigma(y, prior, noise, self.time_range)
        z = y + expand(sigma, y) * noise(y)
        denoised = prior.denoiser(z, sigma)
        gradient = expand(sds_weight(sigma) / sigma, y) * (prior.phi(z, sigma) - denoised)
        return Estimate(y - gradient, gradient, 2, sigma, z, denoised)


@dataclass(frozen=True)
class SDI:
    """Score distillation via inversion: g = y - D(z), z the DDIM inversion of y (Lukoianov et al. 2024, Alg. 1).

    Follows threestudio's `stable-diffusion-sdi-guidance`: t falls linearly from `time_range[1]` to
    `time_range[0]`; y is inverted along a grid of `steps` times over [0, 1] up to t + delta, delta ~ U(0,
    1/steps), and the result is denoised at t. As there, the render is taken for a state at the schedule's
    least level, not for a clean one.

    Args:
        time_range: Last and first diffusion time.
        steps: Times of the grid that spans [0, 1].
        eta: Fresh noise in the inversion.
        offset: What the grid is shifted by, in [0, 1/steps); a scheduler's `steps_offset` over its training
            timesteps.
    """

    time_range: tuple[float, float] = (0.02, 0.98)
    steps: int = 10
    eta: float = 0.3
    offset: float = 0.0

    def __call__(self, y: Tensor, prior: Prior, noise: Noise, progress: float) -> Estimate:
        """Estimate the gradient; see `Estimator`."""
        low, high = self.time_range
        time = high + (low - high) * progress
        delta = uniform(noise, y) / self.steps
        grid = [k / self.steps + self.offset for k in range(self.steps)]
        below = sorted({0.0, *(u for u in grid if u < time)})
        times = torch.stack([*(torch.full_like(delta, u) for u in below), (time + delta).clamp(max=1.0)])
        levels = prior.schedule.sigma(times).to(y)  # [n + 1, B]
        least = float(prior.schedule.sigma(0.0))
        start = y * (1 + least**2) ** 0.5  # y is a variance-preserving state
        inversion = invert(
            start, prior.inversion or prior.denoiser, levels, eta=self.eta, noise=noise, level=least
        )
        sigma = prior.schedule.sigma(time).to(y.device)
        # the state at t + delta, in variance-preserving units, is taken for one at t
        z = inversion.states[-1] * expand(((1 + sigma**2) / (1 + levels[-1] ** 2)).sqrt(), y)
        denoised = prior.denoiser(z, sigma)
        return Estimate(denoised, y - denoised, len(levels), sigma, z, denoised)


def sds_weight(sigma: Tensor) -> Tensor:
    """w(t) = 1 - abar = sigma^2 / (1 + sigma^2), threestudio's weighting `sds`."""
    return sigma**2 / (1 + sigma**2)


def uniform(noise: Noise, like: Tensor) -> Tensor:
    """One uniform number in [0, 1) a sample, `[B]`, from a source of normal noise by its distribution function."""
    return torch.special.ndtr(noise(like.flatten(1)[:, :1]))[:, 0].clamp(max=1 - 2**-24)


def uniform_sigma(y: Tensor, prior: Prior, noise: Noise, time_range: tuple[float, float]) -> Tensor:
    """Noise levels `[B]` at diffusion times drawn uniformly from `time_range`."""
    low, high = time_range
    return prior.schedule.sigma(low + (high - low) * uniform(noise, y)).to(y)
