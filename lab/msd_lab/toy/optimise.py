"""Points moved by an estimator's gradient under Adam (section 4.2)."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from threestudio_msd.distillation import (
    VSD,
    Estimator,
    Noise,
    Prior,
    SharedNoise,
    expand,
    karras_sigmas,
    require_finite,
    sample,
    seed_from,
    uniform,
)
from torch import Tensor

from .densities import GaussianMixture, Level, Points
from .experiment import Outcome, Scale
from .learned import DensityNetwork, Progress
from .metrics import measure
from .problems import SCHEDULE, Method, Problem

DDIM_STEPS = 128


@dataclass(frozen=True)
class Distilled:
    """Result of an optimisation.

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
    progress: Progress | None = None,
) -> Distilled:
    """Move points along an estimator's gradient with Adam.

    Args:
        points: Where to start.
        estimator: Any estimator.
        prior: The density's denoiser.
        noise: Source of noise.
        steps: Optimiser steps.
        lr: Adam's learning rate, in the units of the plane.
        record_every: Steps between recorded states; 0 records the first and the last.
        phi: VSD's phi, which takes one training step after each optimiser step.
        progress: Called with (steps done, steps).

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
    """VSD's phi: a copy of the learned network that trains on the present points.

    Args:
        network: The learned network it starts from.
        lr: Adam's learning rate (Wang et al. 2023b: 1e-4).
    """

    def __init__(self, network: DensityNetwork, lr: float = 1e-4) -> None:
        self.network = copy.deepcopy(network).requires_grad_(True)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=lr)

    def denoise(self, z: Points, sigma: Level) -> Points:
        return self.network.denoise(z, sigma).detach()

    def step(self, y: Points, noise: Noise) -> None:
        """One step on E ||eps_phi - n||^2, times uniform, at the points."""
        sigma = SCHEDULE.sigma(uniform(noise, y))
        n = noise(y)
        eps = -expand(sigma, y) * self.network.score(y + expand(sigma, y) * n, sigma, training=True)
        self.optimiser.zero_grad()
        (eps - n).square().mean().backward()
        self.optimiser.step()


def final_metrics(problem: Problem, method: Method, seed: int, scale: Scale, progress: Progress) -> Outcome:
    """Run a method once and measure its final points against the exact density."""
    moved = run_method(problem, method, seed, scale, progress)
    return Outcome(measure(moved.points, problem.target(), seed), moved.nfe)


def path(problem: Problem, method: Method, seed: int, scale: Scale, progress: Progress) -> Outcome:
    """Run a method once; the data is `Distilled` with some fifty states of its path."""
    moved = run_method(problem, method, seed, scale, progress, -(-scale.steps // 50))
    return Outcome({}, moved.nfe, moved)


def run_method(
    problem: Problem,
    method: Method,
    seed: int,
    scale: Scale,
    progress: Progress | None = None,
    record_every: int = 0,
) -> Distilled:
    """Let a method move points, `scale.grid` squared, or have DDIM sample as many."""
    prior, network = problem.prior(scale.training)
    density, noise = problem.target(), SharedNoise(seed_from(seed, method.noise))
    points = starting_points(density, scale.grid, method.start)
    if method.make is None:
        levels = karras_sigmas(DDIM_STEPS, SCHEDULE.sigma_min, SCHEDULE.sigma_max, SCHEDULE.rho)
        z = density.moments()[0] + SCHEDULE.sigma_max * noise(points)
        return Distilled(sample(prior.denoiser, z, levels), points[None], DDIM_STEPS)
    phi = OnlinePhi(network, method.phi_lr) if method.make is VSD else None
    estimator = method.make(phi.denoise) if phi else method.make()
    return distil(points, estimator, prior, noise, scale.steps, method.lr, record_every, phi, progress)


def starting_points(density: GaussianMixture, side: int, start: float | None) -> Points:
    """`side` squared points as `Method.start` says."""
    grid = density.grid(side)
    if start == 0:
        return SharedNoise(seed_from(0, "start"))(grid)
    centre = grid.mean(0)
    return grid if start is None else centre + start * (grid - centre)
