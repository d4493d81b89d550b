"""Annealing law: mean-shift steps to the highest mode, over ratios of scales."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from threestudio_msd.distillation import (
    MSD,
    SCHEDULES,
    Adaptive,
    Bandwidth,
    Constant,
    PlainPrior,
    Posterior,
    SharedNoise,
    Tweedie,
)

from .densities import GaussianMixture, Points, mixture
from .experiment import Measurement, Outcome, Scale, over
from .learned import Progress
from .problems import SCHEDULE, Problem

# Levels of branching. K = RATIO^levels is the modes' widest separation over the narrowest.
LEVELS = (1, 2, 3, 4, 5)
RATIO = 4
# Separations of two modes in units of their width.
SEPARATIONS = (4.0, 5.0, 6.0, 7.0)
# Steps after which a schedule is given up.
MOST = 2048
# Share of the starts that have to reach the highest mode.
ARRIVED = 0.9
# The function of K in which a schedule's steps are linear.
FEATURES: dict[str, tuple[str, Callable[[float], float]]] = {
    "exponential": ("ln K", math.log),
    "adaptive": ("ln K", math.log),
    "cosine": ("√K", math.sqrt),
    "linear": ("K", float),
}


def nested(levels: int) -> GaussianMixture:
    """A binary tree of modes of width 1, 4 to 4 K apart, 0.7 to 0.3 at a fork."""
    means, weights = torch.zeros(1, 2), torch.ones(1)
    for level in range(levels + 1):
        offset = torch.eye(2)[level % 2] * 2.0 * RATIO**level
        means = torch.cat([means + offset, means - offset])
        weights = torch.cat([0.7 * weights, 0.3 * weights])
    return mixture(means, torch.eye(2).expand(len(means), 2, 2), weights)


def schedule(name: str, ratio: float) -> Bandwidth:
    """A bandwidth from 2 K to 1; `adaptive` waits for convergence alone."""
    if name == "constant":
        return Constant(1.0, 1.0)
    return SCHEDULES[name](2.0 * ratio, 1.0, **({"patience": MOST} if name == "adaptive" else {}))


def arrived(points: Points, density: GaussianMixture) -> float:
    """Share of the points that are within two widths of the highest mode."""
    return float(((points - density.means[density.weights.argmax()]).norm(dim=1) < 2).float().mean())


def shifted(density: GaussianMixture, bandwidth: Bandwidth, steps: int) -> tuple[Points, int]:
    """Mean shift from every mode for `steps`, or until an adaptive bandwidth arrives."""
    msd, prior, noise = MSD(Tweedie(), bandwidth), PlainPrior(density.denoise, SCHEDULE), SharedNoise(0)
    y, state = density.means.clone(), msd.init(density.means)
    for step in range(steps):
        estimate = msd(y, prior, noise, step / max(steps - 1, 1), state)
        y, state = estimate.target, estimate.state
        if isinstance(bandwidth, Adaptive) and arrived(y, density) >= ARRIVED:
            return y, step + 1
    return y, steps


def least_steps(density: GaussianMixture, bandwidth: Bandwidth) -> float:
    """Fewest steps to the highest mode, to 3 %; infinite beyond `MOST`."""
    if isinstance(bandwidth, Adaptive):
        y, steps = shifted(density, bandwidth, MOST)
        return steps if arrived(y, density) >= ARRIVED else math.inf

    def enough(steps: int) -> bool:
        return arrived(shifted(density, bandwidth, steps)[0], density) >= ARRIVED

    high = next((2**i for i in range(MOST.bit_length()) if enough(2**i)), None)
    if high is None:
        return math.inf
    low = high // 2
    while high - low > max(1, high // 32):
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def schedule_steps(problem: Problem, name: str, seed: int, scale: Scale, progress: Progress) -> Outcome:
    """Steps to the highest mode of a schedule, over the levels of the tree."""

    def measure(levels: int) -> tuple[dict[str, float], int]:
        steps = least_steps(nested(levels), schedule(name, RATIO**levels))
        return {"steps to the highest mode": steps}, 1

    return over({f" at K = {RATIO**levels}": levels for levels in LEVELS}, measure, progress)


def escape_steps(
    problem: Problem, sampler: Posterior, seed: int, scale: Scale, progress: Progress
) -> Outcome:
    """Median steps out of the lower of two modes, y following draws at a bandwidth of 1."""

    def measure(separation: float) -> tuple[dict[str, float], int]:
        steps = _escape(separation, sampler, SharedNoise(seed))
        return {"median steps out of the lower mode": steps}, sampler.steps

    return over({f" at separation = {x:g}": x for x in SEPARATIONS}, measure, progress)


def _escape(separation: float, sampler: Posterior, noise: SharedNoise, points: int = 100) -> float:
    means = torch.tensor([[0.0, 0.0], [separation, 0.0]])
    pair = mixture(means, torch.eye(2).expand(2, 2, 2), torch.tensor([0.3, 0.7]))
    prior, y = PlainPrior(pair.denoise, SCHEDULE), means[:1].repeat(points, 1)
    waiting = torch.ones(points, dtype=torch.bool)
    for step in range(MOST):
        y = sampler(y, 1.0, prior, noise).x
        waiting &= y[:, 0] < separation - 1
        if waiting.float().mean() <= 0.5:
            return step + 1
    return math.inf


def laws(measurements: list[Measurement]) -> dict[str, tuple[float, float, float]]:
    """Fit steps = a + b f(K), f from `FEATURES`, by least squares.

    For a constant bandwidth with draws, log(steps) = a + b K^2.

    Returns:
        By schedule: a, b, and the greatest relative residual.
    """
    fitted = {}
    for method, points in curves(measurements).items():
        k, steps = map(np.array, points)
        if np.isfinite(steps).all():
            drawn = method not in FEATURES
            x = k**2 if drawn else np.array([FEATURES[method][1](ratio) for ratio in k])
            slope, offset = np.polyfit(x, np.log(steps) if drawn else steps, 1)
            model = np.exp(offset + slope * x) if drawn else offset + slope * x
            fitted[method] = (float(offset), float(slope), float(np.abs(model / steps - 1).max()))
    return fitted


def equation(method: str, offset: float, slope: float) -> str:
    """A law of `laws` as a formula."""
    if method not in FEATURES:
        return f"steps = exp({offset:.2f} + {slope:.3f} K²)"
    return f"steps = {offset:.1f} + {slope:.3g} {FEATURES[method][0]}"


def curves(measurements: list[Measurement]) -> dict[str, tuple[list[float], list[float]]]:
    """K, which the metrics' names end in, and steps, by method."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for m in measurements:
        k, steps = found.setdefault(m.method, ([], []))
        k.append(float(m.metric.split()[-1]))
        steps.append(m.mean)
    return found
