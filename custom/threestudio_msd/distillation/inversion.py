"""DDIM inversion: the probability-flow ODE run upward, from a clean image to its noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .protocols import Batch, Denoiser, Level, Noise
from .schedule import karras_sigmas
from .tensors import expand, on_device, rms


@dataclass(frozen=True)
class Inversion:
    """The inverse ODE's states at ascending noise levels.

    Attributes:
        sigmas: Ascending levels, `[n + 1]`, the first being the image's.
        states: z at those levels, `[n + 1, B, ...]`; the first is the image itself.
    """

    sigmas: Tensor
    states: Tensor

    def at(self, sigma: float | Tensor) -> Batch:
        """Interpolate the state at one level (0-d), linearly in sigma; above the last
        level, extrapolate.
        """
        sigma = on_device(sigma, self.sigmas.device, self.sigmas.dtype)
        # an index that stays a tensor, which a GPU need not be waited for
        high = torch.searchsorted(self.sigmas, sigma.reshape(1)).clamp(1, len(self.sigmas) - 1)
        low = high - 1
        fraction = (sigma - self.sigmas[low]) / (self.sigmas[high] - self.sigmas[low])
        return torch.lerp(self.states[low][0], self.states[high][0], fraction.to(self.states))


def invert(
    y: Batch,
    denoiser: Denoiser,
    sigmas: Tensor,
    limit: float | None = None,
    eta: float = 0.0,
    noise: Noise | None = None,
    level: float = 0.0,
) -> Inversion:
    """Run DDIM inversion of `y` up the noise levels, one denoiser evaluation a step.

    The network is asked at the lower level of every step, the first being so little
    above 0 that `sigmas[0]` stands for it. A render is far from the data there, so its
    residual y - D is large, and divided by a small sigma it makes a noise estimate of
    any size, which the following steps carry upward: this is how inversion diverges.
    The noise estimate is a conditional mean of N(0, I) noise, E[n | z], so by Jensen's
    inequality its root mean square is at most 1 on average; `limit` rescales every
    sample's estimate to at most that. As with `sample`, the result is differentiable.

    Args:
        y: Images or latents at `level`, `[B, ...]`.
        denoiser: The prior, usually at a guidance scale of its own.
        sigmas: Ascending positive levels, `[n + 1]` or `[n + 1, B]`; the first
            evaluation is made at the first.
        limit: Largest root mean square of a noise estimate, or None for plain DDIM
            inversion.
        eta: Amount of fresh noise a step, 0 none (SDI: 0.3; Lukoianov et al. 2024, as
            in threestudio's SDI guidance).
        noise: Source of it; needed when `eta` > 0.
        level: Noise level that `y` is taken to be at; 0, clean, by default.

    Returns:
        States at `level` and at `sigmas[1:]`; `n` evaluations were made.

    Raises:
        ValueError: If `eta` > 0 without a source of noise.
    """
    if eta > 0 and noise is None:
        raise ValueError("inversion with eta > 0 needs a source of noise")
    reached = torch.cat([torch.full_like(sigmas[:1], level), sigmas[1:]])
    states = [y]
    for asked, low, high in zip(sigmas[:-1], reached[:-1], reached[1:], strict=True):
        z = states[-1]
        eps = limited((z - denoiser(z, asked)) / expand(asked, z), limit)
        z = z + expand(high - low, z) * eps
        if noise is not None and eta > 0:
            z = z + eta * expand(_ancestral_std(low, high), z) * noise(z)
        states.append(z)
    return Inversion(reached, torch.stack(states))


def limited(eps: Batch, limit: float | None) -> Batch:
    """Rescale samples whose root mean square exceeds `limit` down to it; None leaves
    all as they are.
    """
    if limit is None:
        return eps
    return eps * (limit / expand(rms(eps), eps).clamp(min=limit))


def ladder(steps: int, sigma_min: float, sigma_max: float | Tensor, rho: float = 7.0) -> Tensor:
    """Ascending noise levels for `invert`, `[steps + 1]` or `[steps + 1, B]`:
    `karras_sigmas` reversed, without its 0.
    """
    return karras_sigmas(steps + 1, sigma_min, sigma_max, rho)[:-1].flip(0)


def _ancestral_std(low: Level, high: Level) -> Level:
    """DDIM's posterior standard deviation for a variance-preserving step from `high` to
    `low`, in VE units at `high`.
    """
    variance = low**2 * (high**2 - low**2) * (1 + high**2) / ((1 + low**2) * high**2)
    return variance.sqrt()
