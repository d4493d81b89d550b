"""What the toys do: points, every one moved by an estimator's gradient under Adam (section 4.2)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from threestudio_msd.distillation import (
    Estimator,
    KarrasSchedule,
    Noise,
    Prior,
    expand,
    require_finite,
    uniform,
)
from torch import Tensor

from .densities import Level, Points
from .learned import DensityNetwork

SCHEDULE = KarrasSchedule(0.002, 5.0, 7.0)
"""The toys' noise levels (Karras et al. 2024, appendix C)."""


@dataclass(frozen=True)
class Distilled:
    """What an optimisation left.

    Attributes:
        points: Final points.
        path: The points before every recorded step and after the last.
        nfe: Denoiser evaluations that one point took.
    """

    points: Points
    path: Float[Tensor, "T N d"]
    nfe: int


def distil(
    points: Points,
    estimator: Estimator,
    prior: Prior,
    noise: Noise,
    steps: int = 150,
    lr: float = 0.1,
    record_every: int = 0,
    phi: OnlinePhi | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Distilled:
    """Move points along an estimator's gradient with Adam.

    Args:
        points: Where to start.
        estimator: Any estimator.
        prior: The density's denoiser.
        noise: Source of noise.
        steps: Optimiser steps.
        lr: Adam's learning rate, in the units of the plane.
        record_every: Steps between recorded states; 0 records the first and the last only.
        phi: The network of VSD's `phi`, which takes one training step after each optimiser step.
        progress: Told (step, steps).

    Raises:
        NonFiniteError: If a gradient is NaN or Inf; names the step.

    Example:
        >>> from threestudio_msd.distillation import MSD, PlainPrior, SharedNoise
        >>> from msd_lab.toy.densities import fractal
        >>> density = fractal()
        >>> prior = PlainPrior(density.denoise, SCHEDULE)
        >>> distil(density.grid(8), MSD(), prior, SharedNoise(0), steps=2).points.shape
        torch.Size([64, 2])
    """
    y = points.clone()
    optimiser = torch.optim.Adam([y], lr=lr)
    path, nfe, state = [y.clone()], 0, estimator.init(y)
    for step in range(steps):
        estimate = estimator(y, prior, noise, step / max(steps - 1, 1), state)
        y.grad = require_finite(f"gradient at step {step}", estimate.gradient)
        optimiser.step()
        nfe, state = nfe + estimate.nfe, estimate.state
        if phi is not None:
            phi.step(y, noise)
        if record_every and (step + 1) % record_every == 0:
            path.append(y.clone())
        if progress:
            progress(step + 1, steps)
    if len(path) == 1 or not torch.equal(path[-1], y):
        path.append(y.clone())
    return Distilled(y, torch.stack(path), nfe)


class OnlinePhi:
    """VSD's phi on points: a copy of the learned network that goes on learning to denoise the present points.

    Args:
        network: The learned network it starts from.
        lr: Adam's learning rate (Wang et al. 2023b: 1e-4).
    """

    def __init__(self, network: DensityNetwork, lr: float = 1e-4) -> None:
        self.network = copy.deepcopy(network).requires_grad_(True)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=lr)

    def denoise(self, z: Points, sigma: Level) -> Points:
        """D(z, sigma) of the points' distribution."""
        return self.network.denoise(z, sigma).detach()

    def step(self, y: Points, noise: Noise) -> None:
        """One step on E ||eps_phi - n||^2, times uniform, at the points."""
        sigma = SCHEDULE.sigma(uniform(noise, y))
        n = noise(y)
        eps = -expand(sigma, y) * self.network.score(y + expand(sigma, y) * n, sigma, training=True)
        self.optimiser.zero_grad()
        (eps - n).square().mean().backward()
        self.optimiser.step()
