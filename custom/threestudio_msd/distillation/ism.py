"""Interval score matching: compares the prior's score at two neighbouring times of its
own deterministic path from the render.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ..fields import Checked, number, pair
from ..papers import LIANG
from .inversion import invert
from .noise import uniform
from .protocols import Batch, Estimate, Estimator, Noise, PerSample, Prior, State
from .tensors import expand, on_device


@dataclass(frozen=True)
class ISM(Checked, Estimator):
    """Interval score matching: g = w(t) (eps_hat(z_t) - eps_uncond(z_s)), s = t -
    delta_T (Liang et al. 2023, Eq. 16 and 17, Alg. 1).

    z_s and z_t are states of the DDIM inversion of y without a prompt, which takes
    steps of delta_S up to s and one of delta_T from there to t; eps_uncond(z_s) is the
    noise that the last step went along. As in the authors' code, w(t) = sqrt((1 - abar)
    / abar), which is sigma, and the inversion starts from y with noise of the least
    level, where the network was trained. Prompt and guidance act at t alone. A call
    returns an `Estimate` at the cost of one evaluation per inversion step, and one.

    Args:
        time_range: Least and greatest diffusion time, in [0, 1]; t is drawn uniformly
            in between for every sample. The authors': 0.02 to 0.5.
        interval: delta_T, a part of the diffusion time in (0, 1]; the authors' is 50 of
            1000 timesteps.
        inversion_interval: delta_S, likewise; the authors' is 200 of 1000.

    Raises:
        FieldError: A setting is out of range.
    """

    paper = LIANG
    time_range: tuple[float, float] = pair((0.02, 0.98), least=0, most=1)
    interval: float = number(0.05, above=0, most=1)
    inversion_interval: float = number(0.2, above=0, most=1)

    @torch.no_grad()
    def __call__(
        self, y: Batch, prior: Prior, noise: Noise, progress: float, state: State | None = None
    ) -> Estimate:
        low, high = self.time_range
        levels = prior.schedule.sigma(self._times(low + (high - low) * uniform(noise, y)))
        levels = on_device(levels, y.device, y.dtype)
        start = y + expand(levels[0], y) * noise(y)
        inversion = invert(start, prior.at(0.0), levels, level=float(prior.schedule.sigma(0.0)))
        z_s, z = inversion.states[-2:]
        sigma = levels[-1]
        denoised = prior.denoiser(z, sigma)
        # sigma eps_hat = z - D
        gradient = z - denoised - expand(sigma / (sigma - levels[-2]), y) * (z - z_s)
        return Estimate(y - gradient, gradient, len(levels), sigma, z, denoised)

    def _times(self, time: PerSample) -> torch.Tensor:
        """Return the ascending times of the inversion, `[n + 1, B]`: 0, delta_S, ... up
        to s, then t.
        """
        s = (time - self.interval).clamp(min=0.0)
        climbs = math.ceil(float(s.max()) / self.inversion_interval)
        # a sample that has reached its s waits there for the others
        grid = [torch.minimum(torch.full_like(s, k * self.inversion_interval), s) for k in range(climbs)]
        return torch.stack([*grid, s, time])
