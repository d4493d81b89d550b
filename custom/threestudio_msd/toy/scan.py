"""Scan of the settings that the paper leaves open, for its own sampler: what reaches its Table 1?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..distillation import MSD, Linear, PlainPrior, SharedNoise, Split, seed_from
from ..jobs import Job
from .measurement import Measured, Measurement, Save, gather
from .metrics import measure
from .optimise import SCHEDULE, distil
from .paper import PUBLISHED
from .problems import Problem
from .settings import Scale

STARTS = (0.5, 1.0, 1.5)
ENDS = (0.03,)
LEARNING_RATES = (0.1, 0.01, 0.009, 0.008, 0.003)
TOLERANCES = {"nll": 0.3, "precision": 0.1, "recall": 0.1}
"""How near a figure has to be to the paper's."""


def named(start: float, end: float, lr: float) -> str:
    """A set-up's row."""
    return f"λ {start:g} to {end:g}, lr {lr:g}"


def split_scan(problem: Problem, scale: Scale, save: Save) -> list[Measurement]:
    """`Split` with a linear bandwidth under the exact denoiser, over λ's ends and learning rates."""
    work = [
        (problem, name, Job(f"{name}: {problem}", split_end, (problem, start, end, lr, scale)))
        for start in STARTS
        for end in ENDS
        for lr in LEARNING_RATES
        for name in [named(start, end, lr)]
    ]
    return gather(work, "scan", save)


def split_end(
    problem: Problem, start: float, end: float, lr: float, scale: Scale, progress: Callable
) -> Measured:
    """Where one set-up brings the grid of points."""
    density = problem.target()
    prior = PlainPrior(density.denoise, SCHEDULE)
    estimator, noise = MSD(Split(), Linear(start, end)), SharedNoise(seed_from(0, "scan"))
    moved = distil(density.grid(scale.grid), estimator, prior, noise, scale.steps, lr, progress=progress)
    return measure(moved.points, density, 0), moved.nfe


def reached(measurements: Sequence[Measurement]) -> list[str]:
    """The set-ups whose every figure is within `TOLERANCES` of the paper's."""
    off = {
        (m.problem, m.method)
        for m in measurements
        if m.metric in TOLERANCES and abs(m.mean - published(m)) > TOLERANCES[m.metric]
    }
    return [m.method for m in measurements if m.metric == "nll" and (m.problem, m.method) not in off]


def published(measurement: Measurement) -> float:
    """The paper's figure of its method on the same problem."""
    return PUBLISHED[measurement.problem, "MSD", measurement.metric]
