"""What a method costs: evaluations, FLOP and seconds of an optimiser step, by short runs of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan, nan

from threestudio_msd.errors import UserError

from ..measure.images import Run
from .grid import Cell, Execute, run_grid

PROBES = (8, 40)
"""Optimiser steps of the two short runs: with usual `refresh_every`, and a last fit of a quarter or half of
the steps, none counts in part.
"""

KINDS: Mapping[str, str] = {
    "steps": "optimiser steps",
    "nfe": "network function evaluations an image",
    "flop": "FLOP an image",
    "seconds": "seconds a run",
}
"""What a budget may be of. All but steps are costs."""


@dataclass(frozen=True)
class Costs:
    """Of an optimiser step.

    Attributes:
        nfe: Network function evaluations an image.
        flop: Floating point operations an image: networks, encoder, decoder, image, forwards and backwards.
        seconds: Wall time, all images of a run, on this machine.
        error: Why they are unknown (NaN); empty where they are known.
    """

    nfe: float = nan
    flop: float = nan
    seconds: float = nan
    error: str = ""

    def steps(self, kind: str, amount: float) -> int:
        """How many optimiser steps an amount of one of `KINDS` pays for, at least one.

        Raises:
            UserError: The cost is unknown.
        """
        cost = 1.0 if kind == "steps" else getattr(self, kind)
        if isnan(cost) or cost <= 0:
            raise UserError(f"a step's {kind} could not be counted: {self.error or 'it takes too little'}")
        return max(1, round(amount / cost))


def step_costs(
    cells: Sequence[Cell], execute: Execute, timed: bool = False, probes: tuple[int, int] | None = None
) -> dict[str, Costs]:
    """Costs of an optimiser step of every method.

    Two runs of different lengths are compared, so that what a run costs once (loading, the prompt, the
    results) drops out. Counting operations slows a run, so seconds need two more.

    Args:
        cells: One of every method, of any length.
        execute: See `grid.executor`.
        timed: Measure seconds too.
        probes: Steps of the two runs; `PROBES` by default.

    Returns:
        By the methods' labels.
    """
    probes = probes or PROBES
    counted = [[replace(cell, steps=steps, counted=True) for steps in probes] for cell in cells]
    plain = (
        [[replace(cell, steps=steps) for steps in probes] for cell in cells] if timed else [[] for _ in cells]
    )
    failed = run_grid([cell for pair in (*counted, *plain) for cell in pair], execute)
    found = {}
    for cell, pair, others in zip(cells, counted, plain, strict=True):
        errors = [failed[one] for one in (*pair, *others) if one in failed]
        found[cell.method.label] = Costs(error=errors[0]) if errors else _costs(pair, others)
    return found


def _costs(counted: Sequence[Cell], plain: Sequence[Cell]) -> Costs:
    flop = _per_step(counted, lambda cell: cell.spent("flop") / cell.particles)
    nfe = _per_step(counted, lambda cell: Run(cell.folder).nfe)
    return Costs(nfe, flop, _per_step(plain, lambda cell: cell.spent("seconds")) if plain else nan)


def _per_step(pair: Sequence[Cell], of: Callable[[Cell], float]) -> float:
    short, long = pair
    return (of(long) - of(short)) / (long.steps - short.steps)
