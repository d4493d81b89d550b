"""Scan of the settings that the paper leaves open: which reach the figures of its Table 1?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

from threestudio_msd.distillation import MSD, SDI, SDS, VSD, Estimator, Linear, SharedNoise, Split, seed_from

from .densities import GaussianMixture, Points
from .experiment import Measurement, Outcome, Scale
from .learned import Progress
from .metrics import measure
from .optimise import distilled
from .problems import PUBLISHED1, Problem

STARTS = (1.0, 2.0)
"""Extents of the starting grid, in those of the view; 0 stands for a normal distribution."""
NORMAL = 0.0
LEARNING_RATES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.009, 0.008, 0.003)
METHODS: dict[str, tuple[str, tuple[float | None, ...]]] = {
    "MSD": ("λ from", (0.5, 1.0, 1.5)),
    "SDS": ("", (None,)),
    "VSD": ("phi's lr", (1e-4, 1e-3, 1e-2)),
    "SDI": ("", (None,)),
}
"""What a method has beside start and learning rate, and its values."""
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
        knob: A value of `METHODS`: MSD's first λ, or the learning rate of VSD's phi.
    """

    method: str
    start: float
    lr: float
    knob: float | None = None

    def __str__(self) -> str:
        start = f"grid x {self.start:g}" if self.start else "normal"
        own = "" if self.knob is None else f", {METHODS[self.method][0]} {self.knob:g}"
        return f"{self.method}: {start}, lr {self.lr:g}{own}"

    def points(self, density: GaussianMixture, side: int) -> Points:
        """Starting points."""
        grid = density.grid(side)
        if self.start == NORMAL:
            return SharedNoise(seed_from(0, "start"))(grid)
        centre = grid.mean(0)
        return centre + self.start * (grid - centre)

    def make(self) -> Callable[..., Estimator]:
        """Makes its estimator, as in `problems.METHODS`."""
        if self.method == "MSD":
            return partial(MSD, Split(), Linear(self.knob, LAST))
        return {"SDS": SDS, "VSD": VSD, "SDI": SDI}[self.method]


def set_ups() -> list[SetUp]:
    """Every set-up to try."""
    return [
        SetUp(method, start, lr, knob)
        for method, (_, knobs) in METHODS.items()
        for start, lr, knob in product((*STARTS, NORMAL), LEARNING_RATES, knobs)
    ]


def end(problem: Problem, set_up: SetUp, seed: int, scale: Scale, progress: Progress) -> Outcome:
    """Run a set-up and measure its final points."""
    points, noise = set_up.points(problem.target(), scale.grid), SharedNoise(seed_from(seed, "scan"))
    options = {"phi_lr": set_up.knob, "progress": progress}
    moved = distilled(problem, set_up.make(), noise, scale, set_up.lr, points, **options)
    return Outcome(measure(moved.points, problem.target(), seed), moved.nfe)


def misses(measurements: Sequence[Measurement]) -> dict[str, float]:
    """Distance of each row's worst figure from the paper's, in tolerances: 1 or less reproduces it."""
    found: dict[str, float] = {}
    for m in measurements:
        if m.metric in TOLERANCES:
            paper = PUBLISHED1[m.problem, m.method.partition(":")[0], m.metric]
            width = max(TOLERANCES[m.metric], abs(paper) / 10 if m.metric == "nll" else 0)
            found[m.method] = max(found.get(m.method, 0.0), abs(m.mean - paper) / width)
    return found


def nearest(tried: Sequence[SetUp], measurements: Sequence[Measurement]) -> list[SetUp]:
    """The set-up of every method that comes nearest to the paper."""
    missed = misses(measurements)
    methods = dict.fromkeys(set_up.method for set_up in tried)
    return [min((s for s in tried if s.method == method), key=lambda s: missed[str(s)]) for method in methods]


def verdict(set_up: SetUp, tried: Sequence[SetUp], missed: float) -> str:
    """Say whether the nearest set-up of a method, `missed` tolerances away, is near enough."""
    count = sum(other.method == set_up.method for other in tried)
    if missed <= 1:
        return f"{set_up} reproduces it ({count} set-ups)"
    return f"none of {set_up.method}'s {count} does; {set_up} misses by {missed:.1f} tolerances"
