"""Scan of the settings that the paper leaves open: which reach its Table 1?"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial
from itertools import product

from threestudio_msd.distillation import MSD, Linear, Split

from .experiment import Measurement
from .problems import METHODS, PUBLISHED1, Method

STARTS = (1.0, 2.0, 0.0)  # as in `Method.start`
LEARNING_RATES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.009, 0.008, 0.003)
# What a method has beside start and learning rate, and its values; the paper's MSD is
# `split` with a linear λ.
KNOBS: dict[str, tuple[str, tuple[float | None, ...]]] = {
    "MSD": ("λ from", (0.5, 1.0, 1.5)),
    "SDS": ("", (None,)),
    "VSD": ("phi's lr", (1e-4, 1e-3, 1e-2)),
    "SDI": ("", (None,)),
}
LAST = 0.03  # where MSD's λ ends
# How near a figure has to be to the paper's; for NLL a tenth of it if that is more.
TOLERANCES = {"nll": 0.3, "precision": 0.1, "recall": 0.1}


def set_ups() -> dict[str, Method]:
    """Every set-up to try, by its name, which begins with the method's."""
    return {
        set_up_name(name, start, lr, knob): Method(
            partial(MSD, Split(), Linear(knob, LAST)) if name == "MSD" else METHODS[name].make,
            "scan",
            lr,
            knob,
            start,
        )
        for name, (_, knobs) in KNOBS.items()
        for start, lr, knob in product(STARTS, LEARNING_RATES, knobs)
    }


def set_up_name(method: str, start: float, lr: float, knob: float | None) -> str:
    where = f"grid x {start:g}" if start else "normal"
    own = "" if knob is None else f", {KNOBS[method][0]} {knob:g}"
    return f"{method}: {where}, lr {lr:g}{own}"


def method_of(set_up: str) -> str:
    return set_up.partition(":")[0]


def misses(measurements: Iterable[Measurement]) -> dict[str, float]:
    """Distance of each row's worst figure from the paper's, in tolerances."""
    found: dict[str, float] = {}
    for m in measurements:
        if m.metric in TOLERANCES:
            paper = PUBLISHED1[m.problem, method_of(m.method), m.metric]
            width = max(TOLERANCES[m.metric], abs(paper) / 10 if m.metric == "nll" else 0)
            found[m.method] = max(found.get(m.method, 0.0), abs(m.mean - paper) / width)
    return found


def nearest(tried: Collection[str], measurements: Iterable[Measurement]) -> list[str]:
    """The set-up of every method that comes nearest to the paper."""
    missed = misses(measurements)
    methods = dict.fromkeys(map(method_of, tried))
    return [min((s for s in tried if method_of(s) == method), key=missed.__getitem__) for method in methods]


def verdict(set_up: str, tried: Collection[str], missed: float) -> str:
    """Say whether a method's nearest set-up, `missed` tolerances away, is near enough."""
    method = method_of(set_up)
    count = sum(method_of(other) == method for other in tried)
    if missed <= 1:
        return f"{set_up} reproduces it ({count} set-ups)"
    return f"none of {method}'s {count} does; {set_up} misses by {missed:.1f} tolerances"
