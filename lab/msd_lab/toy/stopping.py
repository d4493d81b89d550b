"""Whether the criterion of convergence ends an optimisation, and at its best."""

from __future__ import annotations

import torch
from threestudio_msd.distillation import (
    MSD,
    Adaptive,
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

from .experiment import Outcome, Scale
from .learned import Progress
from .problems import BANDWIDTH, SCHEDULE, Problem

# Samplers of the product, and whether every estimate of a point has the same noise.
SAMPLERS: dict[str, tuple[ProductSampler, bool]] = {
    "tweedie": (Tweedie(), True),
    "posterior, fixed noise": (Posterior(), True),
    "split, fixed noise": (Split(), True),
    "posterior, fresh noise": (Posterior(), False),
}
# The first is that of `configs/msd-tiny.yaml`.
THRESHOLDS = (0.15, 0.05, 0.02)
# How near the least NLL on a path its end has to be, in nats.
WITHIN = 0.1


def stopped(
    problem: Problem, sampler: tuple[ProductSampler, bool], seed: int, scale: Scale, progress: Progress
) -> Outcome:
    """Mean shift from a grid; each point stops once it has converged."""
    sample, fixed = sampler
    density, bandwidth = problem.target(), Adaptive(BANDWIDTH.start, BANDWIDTH.end)
    msd, prior = MSD(sample, bandwidth), PlainPrior(density.denoise, SCHEDULE)
    y, noise = density.grid(scale.grid), SharedNoise(seed_from(seed, "stopping"))
    state, mean, last = msd.init(y), torch.zeros_like(y), torch.zeros(len(y), dtype=torch.bool)
    taken = torch.full((len(THRESHOLDS), len(y)), scale.steps)  # steps of each point
    nll = [-density.logp(y)]
    for step in range(scale.steps):
        noise = SharedNoise(seed_from(seed, "stopping")) if fixed else noise
        estimate = msd(y, prior, noise, step / scale.steps, state)
        shift, before = -estimate.gradient, last
        last = estimate.sigma.expand(len(y)) <= bandwidth.last
        mean = torch.where(before[:, None], smoothed(mean, shift), shift)
        small = torch.stack([converged(mean, bandwidth.last, threshold) for threshold in THRESHOLDS])
        y, state = estimate.target, estimate.state
        nll.append(-density.logp(y))
        taken = torch.where(before & last & small & (taken == scale.steps), step + 1, taken)
        progress(step + 1, scale.steps)
    return Outcome(figures(torch.stack(nll), taken, scale.steps), estimate.nfe * scale.steps)


def figures(nll: Tensor, taken: Tensor, steps: int) -> dict[str, float]:
    """Figures of paths with NLL `[T + 1, N]` that stop after `taken` steps, `[thresholds, N]`."""
    found, least = {}, nll.cummin(0).values
    for threshold, stops in zip(THRESHOLDS, taken, strict=True):
        at_stop, best = (values.gather(0, stops[None])[0] for values in (nll, least))
        by_metric = {
            "points that stop by themselves": mean_of(stops < steps),
            f"those within {WITHIN:g} nats of the best on the path": mean_of(at_stop <= best + WITHIN),
            "calls saved": 1 - mean_of(stops) / steps,
            "last NLL": mean_of(at_stop),
        }
        found |= {f"{metric}, threshold {threshold:g}": value for metric, value in by_metric.items()}
    return found | {"last NLL, never stopped": mean_of(nll[-1])}


def mean_of(values: Tensor) -> float:
    return float(values.float().mean())
