"""Score distillation via inversion: SDS whose noise is what the prior itself finds in
the render.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..fields import Checked, number, pair
from ..papers import LUKOIANOV
from .inversion import invert
from .noise import uniform
from .protocols import Batch, Estimate, Estimator, Noise, PerSample, Prior, State
from .tensors import expand, on_device


@dataclass(frozen=True)
class SDI(Checked, Estimator):
    """Score distillation via inversion: g = y - D(z), z the DDIM inversion of y
    (Lukoianov et al. 2024, Alg. 1).

    Follows threestudio's `stable-diffusion-sdi-guidance`: t falls linearly from
    `time_range[1]` to `time_range[0]` with progress; y is inverted along a grid of
    `steps` times over [0, 1] up to t + delta, delta ~ U(0, 1/steps), and the result is
    denoised at t. As there, the render counts as a state at the schedule's least noise
    level, not as a clean one. A call returns an `Estimate` at the cost of one
    evaluation per inversion step, and one.

    Args:
        time_range: Last and first diffusion time, in [0, 1].
        steps: Times of the grid that spans [0, 1].
        eta: Amount of fresh noise in the inversion; 0 is none.
        offset: Shift of the grid, in [0, 1): a scheduler's `steps_offset` divided by
            its number of training timesteps.
        inversion_scale: Guidance scale of the inversion; None takes 2 - w for a prior
            of scale w, as the authors' -7.5 does for their 7.5.

    Raises:
        FieldError: A setting is out of range.
    """

    paper = LUKOIANOV
    time_range: tuple[float, float] = pair((0.02, 0.98), least=0, most=1)
    steps: int = number(10, least=1)
    eta: float = number(0.3, least=0)
    offset: float = number(0.0, least=0, below=1)
    inversion_scale: float | None = number(None)

    @torch.no_grad()
    def __call__(
        self, y: Batch, prior: Prior, noise: Noise, progress: float, state: State | None = None
    ) -> Estimate:
        low, high = self.time_range
        time = high + (low - high) * progress
        levels = prior.schedule.sigma(self._times(time, uniform(noise, y)))  # [n + 1, B]
        levels = on_device(levels, y.device, y.dtype)
        least = float(prior.schedule.sigma(0.0))
        start = y * (1 + least**2) ** 0.5  # y is a variance-preserving state
        scale = 2 - prior.scale if self.inversion_scale is None else self.inversion_scale
        inversion = invert(start, prior.at(scale), levels, eta=self.eta, noise=noise, level=least)
        sigma = on_device(prior.schedule.sigma(time), y.device)
        # the state at t + delta, in variance-preserving units, is taken for one at t
        z = inversion.states[-1] * expand(((1 + sigma**2) / (1 + levels[-1] ** 2)).sqrt(), y)
        denoised = prior.denoiser(z, sigma)
        return Estimate(denoised, y - denoised, len(levels), sigma, z, denoised)

    def _times(self, time: float, chance: PerSample) -> torch.Tensor:
        """Return the inversion's ascending times, `[n + 1, B]`: 0, the grid's below t,
        and t + delta.
        """
        delta = chance / self.steps
        grid = [k / self.steps + self.offset for k in range(self.steps)]
        below = sorted({0.0, *(u for u in grid if u < time)})
        return torch.stack([*(torch.full_like(delta, u) for u in below), (time + delta).clamp(max=1.0)])
