"""Scan of the settings that the paper leaves open, for every method of its Table 1: what reaches it?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

from threestudio_msd.distillation import (
    MSD,
    SDI,
    SDS,
    VSD,
    Estimator,
    Linear,
    PlainPrior,
    SharedNoise,
    Split,
    seed_from,
)

from ..jobs import Job
from .densities import GaussianMixture, Points
from .ends import train_networks
from .measurement import Measured, Measurement, Save, gather
from .metrics import measure
from .optimise import SCHEDULE, OnlinePhi, distil
from .paper import PUBLISHED
from .problems import Problem
from .settings import Scale

STARTS = (1.0, 2.0)
"""Extents of the starting grid, in those of the view; 0 stands for a normal distribution."""
NORMAL = 0.0
LEARNING_RATES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.009, 0.008, 0.003)
KNOBS: dict[str, tuple[str, tuple[float, ...]]] = {
    "MSD": ("λ from", (0.5, 1.0, 1.5)),
    "VSD": ("phi's lr", (1e-4, 1e-3, 1e-2)),
}
"""What a method has beside start and learning rate, and its values."""
METHODS = ("MSD", "SDS", "VSD", "SDI")
LAST = 0.03
"""Where MSD's λ ends."""
TOLERANCES = {"nll": 0.3, "precision": 0.1, "recall": 0.1}
"""How near a figure has to be to the paper's; NLL within a tenth of it where that is more."""


@dataclass(frozen=True)
class SetUp:
    """One way to run a method.

    Attributes:
        method: As in the paper's Table 1; its MSD is `split` with a linear λ.
        start: One of `STARTS`, or `NORMAL`.
        lr: Adam's learning rate.
        knob: A value of `KNOBS`, of the methods that have one.
    """

    method: str
    start: float
    lr: float
    knob: float | None = None

    def __str__(self) -> str:
        start = f"grid x {self.start:g}" if self.start else "normal"
        own = "" if self.knob is None else f", {KNOBS[self.method][0]} {self.knob:g}"
        return f"{self.method}: {start}, lr {self.lr:g}{own}"

    def points(self, density: GaussianMixture, side: int) -> Points:
        """Where it begins."""
        grid = density.grid(side)
        if self.start == NORMAL:
            return SharedNoise(seed_from(0, "start"))(grid)
        centre = grid.mean(0)
        return centre + self.start * (grid - centre)

    def estimator(self, phi: OnlinePhi | None) -> Estimator:
        """What moves the points."""
        if self.method == "MSD":
            return MSD(Split(), Linear(self.knob, LAST))
        return VSD(phi.denoise) if phi else {"SDS": SDS, "SDI": SDI}[self.method]()


def set_ups() -> list[SetUp]:
    """All that are tried."""
    return [
        SetUp(method, start, lr, knob)
        for method in METHODS
        for start, lr, knob in product(
            (*STARTS, NORMAL), LEARNING_RATES, KNOBS[method][1] if method in KNOBS else (None,)
        )
    ]


def scanned(
    tried: Sequence[SetUp], problem: Problem, seeds: int, scale: Scale, save: Save, mark: str = ""
) -> list[Measurement]:
    """Where set-ups bring their points under a problem's exact denoiser; rows' names end in `mark`."""
    if any(set_up.method == "VSD" for set_up in tried):
        train_networks([problem], scale)
    work = [
        (problem, f"{one}{mark}", Job(f"{one}, seed {seed}", end, (one, problem, seed, scale)))
        for one in tried
        for seed in range(seeds)
    ]
    return gather(work, "scan", save)


def end(set_up: SetUp, problem: Problem, seed: int, scale: Scale, progress: Callable) -> Measured:
    """Where one set-up brings its points."""
    density = problem.target()
    phi = OnlinePhi(problem.prior(scale.training)[1], set_up.knob) if set_up.method == "VSD" else None
    moved = distil(
        set_up.points(density, scale.grid),
        set_up.estimator(phi),
        PlainPrior(density.denoise, SCHEDULE),
        SharedNoise(seed_from(seed, "scan")),
        scale.steps,
        set_up.lr,
        phi=phi,
        progress=progress,
    )
    return measure(moved.points, density, seed), moved.nfe


def misses(measurements: Sequence[Measurement]) -> dict[str, float]:
    """By set-up, its farthest figure from the paper's, in tolerances: at most 1 reproduces the paper."""
    found: dict[str, float] = {}
    for m in measurements:
        if m.metric in TOLERANCES:
            paper = PUBLISHED[m.problem, m.method.partition(":")[0], m.metric]
            width = max(TOLERANCES[m.metric], abs(paper) / 10 if m.metric == "nll" else 0)
            found[m.method] = max(found.get(m.method, 0.0), abs(m.mean - paper) / width)
    return found


def nearest(tried: Sequence[SetUp], measurements: Sequence[Measurement]) -> list[SetUp]:
    """Of every method, the set-up that misses the paper by least."""
    missed = misses(measurements)
    methods = dict.fromkeys(set_up.method for set_up in tried)
    return [min((s for s in tried if s.method == method), key=lambda s: missed[str(s)]) for method in methods]


def verdict(set_up: SetUp, tried: Sequence[SetUp], missed: float) -> str:
    """What the scan says of a method, whose nearest set-up misses the paper by so many tolerances."""
    count = sum(other.method == set_up.method for other in tried)
    if missed <= 1:
        return f"{set_up} reproduces it ({count} set-ups)"
    return f"none of {set_up.method}'s {count} does; {set_up} misses by {missed:.1f} tolerances"
