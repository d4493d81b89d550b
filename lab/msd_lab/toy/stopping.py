"""Whether the method's own criterion of convergence ends an optimisation, and at its best."""

from __future__ import annotations

from collections.abc import Callable

import torch
from threestudio_msd.distillation import (
    MSD,
    Adaptive,
    Noise,
    PlainPrior,
    Posterior,
    ProductSampler,
    SharedNoise,
    Split,
    Tweedie,
    converged,
    seed_from,
    smoothed,
)
from torch import Tensor

from ..jobs import Job
from .measurement import Measured, Measurement, Save, gather
from .optimise import SCHEDULE
from .problems import BANDWIDTH, Problem
from .settings import Scale

PROBLEMS = tuple(Problem(density) for density in ("fractal", "spiral", "pinwheel"))
SAMPLERS: dict[str, tuple[ProductSampler, bool]] = {
    "tweedie": (Tweedie(), True),
    "posterior, fixed noise": (Posterior(), True),
    "split, fixed noise": (Split(), True),
    "posterior, fresh noise": (Posterior(), False),
}
"""Samplers of the product, and whether every estimate of a point has the same noise."""
THRESHOLDS = (0.15, 0.05, 0.02)
"""The first is that of `configs/msd-tiny.yaml`."""
WITHIN = 0.1
"""How near the least NLL on a path its end has to be: nats, as an NLL has no zero to be a part of."""


def stopped(name: str, problem: Problem, seed: int, scale: Scale, progress: Callable) -> Measured:
    """Mean shift from a grid, each point by itself until it has converged, or for all steps."""
    sampler, fixed = SAMPLERS[name]
    density, bandwidth = problem.target(), Adaptive(BANDWIDTH.start, BANDWIDTH.end)
    msd, prior = MSD(sampler, bandwidth), PlainPrior(density.denoise, SCHEDULE)
    y = density.grid(scale.grid)
    state, noise = msd.init(y), source(seed)
    mean, last = torch.zeros_like(y), torch.zeros(len(y), dtype=torch.bool)
    left = torch.full((len(THRESHOLDS), len(y)), scale.steps)  # steps that a point takes
    nll = [-density.logp(y)]
    for step in range(scale.steps):
        estimate = msd(y, prior, source(seed) if fixed else noise, step / scale.steps, state)
        shift, before = -estimate.gradient, last
        last = estimate.sigma.expand(len(y)) <= bandwidth.last
        mean = torch.where(before[:, None], smoothed(mean, shift), shift)
        small = torch.stack([converged(mean, bandwidth.last, threshold) for threshold in THRESHOLDS])
        y, state = estimate.target, estimate.state
        nll.append(-density.logp(y))
        left = torch.where(before & last & small & (left == scale.steps), step + 1, left)
        progress(step + 1, scale.steps)
    return figures(torch.stack(nll), left, scale.steps), estimate.nfe * scale.steps


def source(seed: int) -> Noise:
    """The noise of a seed, from its beginning."""
    return SharedNoise(seed_from(seed, "stopping"))


def figures(nll: Tensor, left: Tensor, steps: int) -> dict[str, float]:
    """What is told of paths whose NLL is `[T + 1, N]` and that stop after `left` steps, `[thresholds, N]`."""
    found, least = {}, nll.cummin(0).values
    for threshold, stops in zip(THRESHOLDS, left, strict=True):
        at_stop, best = (values.gather(0, stops[None])[0] for values in (nll, least))
        found |= {
            f"points that stop by themselves, threshold {threshold:g}": mean_of(stops < steps),
            f"those within {WITHIN:g} nats of the best on the path, threshold {threshold:g}": mean_of(
                at_stop <= best + WITHIN
            ),
            f"calls saved, threshold {threshold:g}": 1 - mean_of(stops) / steps,
            f"last NLL, threshold {threshold:g}": mean_of(at_stop),
        }
    return found | {"last NLL, never stopped": mean_of(nll[-1])}


def mean_of(values: Tensor) -> float:
    """The mean of numbers or truth values."""
    return float(values.float().mean())


def stopping_points(seeds: int, scale: Scale, save: Save) -> list[Measurement]:
    """Every sampler on every density."""
    work = [
        (problem, name, Job(f"{name} on {problem}, seed {seed}", stopped, (name, problem, seed, scale)))
        for problem in PROBLEMS
        for name in SAMPLERS
        for seed in range(seeds)
    ]
    return gather(work, "stopping", save)
