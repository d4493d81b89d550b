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
    """The states that DDIM inversion passed, at ascending noise levels.

    Attributes:
        sigmas: Ascending levels, `[n + 1]` or `[n + 1, B]`; the first is the image's
            own.
        states: z at those levels, `[n + 1, B, ...]`; the first is the image itself.
    """

    sigmas: Tensor
    states: Tensor

    def at(self, sigma: float | Tensor) -> Batch:
        """Interpolate the state at one noise level, linearly in sigma, from levels
        common to all samples.

        Args:
            sigma: A number or 0-d tensor. Levels outside the stored ones are
                extrapolated from the nearest two.

        Returns:
            The state, `[B, ...]`.
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
    """Run DDIM inversion of `y` up the noise levels, with one denoiser evaluation per
    step.

    A step evaluates the network at its lower level; the first step, which starts at
    `level`, at `sigmas[0]` instead. A render is far from the data at low noise, so its
    residual y - D is large, and divided by a small sigma it gives a noise estimate of
    any size, which the following steps carry upward: this is how inversion diverges.
    The noise estimate is a conditional mean of N(0, I) noise, E[n | z], so by Jensen's
    inequality its root mean square is at most 1 on average; `limit` scales every
    sample's estimate down to at most that. The result is differentiable, as that of
    `sample`.

    Args:
        y: Images or latents at `level`, `[B, ...]`.
        denoiser: The prior's, usually at a guidance scale of its own.
        sigmas: Ascending positive levels, `[n + 1]` or `[n + 1, B]`.
        limit: Greatest root mean square of a noise estimate; None for plain DDIM
            inversion.
        eta: Amount of fresh noise per step; 0 is none (SDI: 0.3; Lukoianov et al. 2024,
            as in threestudio's SDI guidance).
        noise: Source of that noise; needed if `eta` > 0.
        level: Noise level of `y`; 0, the default, is clean.

    Returns:
        The states at `level` and at `sigmas[1:]`, after n evaluations.

    Raises:
        ValueError: `eta` > 0 without `noise`.
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
    """Scale samples whose root mean square exceeds `limit` down to it.

    Args:
        eps: Noise estimates, `[B, ...]`.
        limit: Greatest root mean square; None leaves all samples unchanged.

    Returns:
        The estimates, `[B, ...]`.
    """
    if limit is None:
        return eps
    return eps * (limit / expand(rms(eps), eps).clamp(min=limit))


def ladder(steps: int, sigma_min: float, sigma_max: float | Tensor, rho: float = 7.0) -> Tensor:
    """Make ascending noise levels for `invert`: those of `karras_sigmas` reversed,
    without the 0.

    Args:
        steps: Number of steps, one less than levels.
        sigma_min: First level; replaced by `sigma_max / 2` where that is smaller.
        sigma_max: Last level, a number or one per sample, `[B]`.
        rho: Spacing: 7 crowds levels at low noise; 1 spaces them evenly.

    Returns:
        Levels, `[steps + 1]` or `[steps + 1, B]`.

    Raises:
        ValueError: `steps` < 0, or a level is not positive.
    """
    return karras_sigmas(steps + 1, sigma_min, sigma_max, rho)[:-1].flip(0)


def _ancestral_std(low: Level, high: Level) -> Level:
    """DDIM's posterior standard deviation for a variance-preserving step from `high` to
    `low`, in VE units at `high`.
    """
    variance = low**2 * (high**2 - low**2) * (1 + high**2) / ((1 + low**2) * high**2)
    return variance.sqrt()
