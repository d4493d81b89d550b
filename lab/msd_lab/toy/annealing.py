"""Annealing law: mean-shift steps to the highest mode that a bandwidth needs, over ratios of scales."""

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
from .experiment import Measurement, Outcome, Scale
from .learned import Progress
from .problems import SCHEDULE, Problem

LEVELS = (1, 2, 3, 4, 5)
"""Levels of branching; the ratio of the widest separation of modes to the narrowest is K = RATIO^levels."""
RATIO = 4
SEPARATIONS = (4.0, 5.0, 6.0, 7.0)
"""Separations of two modes in units of their width."""
MOST = 2048
"""Steps after which a schedule is given up."""
ARRIVED = 0.9
"""Share of the starts that have to reach the highest mode."""
FEATURES: dict[str, tuple[str, Callable[[float], float]]] = {
    "exponential": ("ln K", math.log),
    "adaptive": ("ln K", math.log),
    "cosine": ("√K", math.sqrt),
    "linear": ("K", float),
}
"""The function of K in which a schedule's steps are linear, by the least share spent at any one scale."""


def nested(levels: int) -> GaussianMixture:
    """A binary tree of modes of width 1, 0.7 to 0.3 at a fork, with separations from 4 to K times that."""
    means, weights = torch.zeros(1, 2), torch.ones(1)
    for level in range(levels + 1):
        offset = torch.eye(2)[level % 2] * 2.0 * RATIO**level
        means = torch.cat([means + offset, means - offset])
        weights = torch.cat([0.7 * weights, 0.3 * weights])
    return mixture(means, torch.eye(2).expand(len(means), 2, 2), weights)


def schedule(name: str, ratio: float) -> Bandwidth:
    """A bandwidth from 2 K to the modes' width; `adaptive` waits for convergence alone."""
    if name == "constant":
        return Constant(1.0, 1.0)
    return SCHEDULES[name](2.0 * ratio, 1.0, **({"patience": MOST} if name == "adaptive" else {}))


def arrived(points: Points, density: GaussianMixture) -> float:
    """Share of the points that are within two widths of the highest mode."""
    return float(((points - density.means[density.weights.argmax()]).norm(dim=1) < 2).float().mean())


def shifted(density: GaussianMixture, bandwidth: Bandwidth, steps: int) -> tuple[Points, int]:
    """Exact mean shift of a start at every mode: the points after `steps`, or once an adaptive arrives."""
    msd, prior, noise = MSD(Tweedie(), bandwidth), PlainPrior(density.denoise, SCHEDULE), SharedNoise(0)
    y, state = density.means.clone(), msd.init(density.means)
    for step in range(steps):
        estimate = msd(y, prior, noise, step / max(steps - 1, 1), state)
        y, state = estimate.target, estimate.state
        if isinstance(bandwidth, Adaptive) and arrived(y, density) >= ARRIVED:
            return y, step + 1
    return y, steps


def least_steps(density: GaussianMixture, bandwidth: Bandwidth) -> float:
    """Fewest steps that bring the starts to the highest mode, to 3 %; infinite beyond `MOST`."""
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
    figures = {}
    for index, levels in enumerate(LEVELS):
        ratio = RATIO**levels
        steps = least_steps(nested(levels), schedule(name, ratio))
        figures[f"steps to the highest mode at K = {ratio}"] = steps
        progress(index + 1, len(LEVELS))
    return Outcome(figures, 1)


def escape_steps(
    problem: Problem, sampler: Posterior, seed: int, scale: Scale, progress: Progress
) -> Outcome:
    """Median steps out of the lower of two modes, y following draws of the product at a bandwidth of 1."""
    figures = {}
    for index, separation in enumerate(SEPARATIONS):
        steps = _escape(separation, sampler, SharedNoise(seed))
        figures[f"median steps out of the lower mode at separation = {separation:g}"] = steps
        progress(index + 1, len(SEPARATIONS))
    return Outcome(figures, sampler.steps)


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
    """By schedule: steps = a + b f(K), fitted by least squares; a, b and the greatest relative residual.

    f is the schedule's of `FEATURES`; for a constant bandwidth with draws it is the logarithm of the steps
    that is linear, in K^2.
    """
    fitted = {}
    for method, points in curves(measurements).items():
        k, steps = map(np.array, points)
        if np.isfinite(steps).all():
            drawn = method not in FEATURES
            x, y = (k**2, np.log(steps)) if drawn else (np.vectorize(FEATURES[method][1])(k), steps)
            slope, offset = np.polyfit(x, y, 1)
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
