"""The cost of a method's optimiser step: evaluations, FLOP and seconds, measured by short runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isnan, nan

from threestudio_msd.errors import UserError

from ..measure.images import Run
from .execution import Execute, run_all
from .runs import PlannedRun

PROBES = (8, 40)
"""Optimiser steps of the two short runs: with usual `refresh_every`, and a last fit of a quarter or half of
the steps, none counts in part.
"""

MOST_STEPS = 10_000_000  # optimiser steps of a run

KINDS: Mapping[str, str] = {
    "steps": "optimiser steps",
    "nfe": "network function evaluations an image",
    "flop": "FLOP an image",
    "seconds": "seconds a run",
}
"""What a budget can limit. All but steps are costs."""


def _at_most(steps: float) -> float:
    if steps > MOST_STEPS:
        raise UserError(f"--budget: expected at most {MOST_STEPS:,} optimiser steps, got {steps:g}")
    return steps


@dataclass(frozen=True)
class Budget:
    """What every method may spend: an amount of one of `KINDS`."""

    kind: str
    amount: float

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read `steps=N`, `nfe=N`, `flop=N` (such as 2e11) or `seconds=N`.

        Raises:
            UserError: The text is malformed, N is below 1 or no whole number of steps or evaluations, or the
                steps are too many.
        """
        kind, _, amount = text.partition("=")
        try:
            number = float(amount) if amount.isascii() else nan
        except ValueError:
            number = nan
        if kind not in KINDS or not 1 <= number < inf or (kind in ("steps", "nfe") and number % 1):
            kinds = " or ".join(f"{name}=N" for name in KINDS)
            raise UserError(f"--budget: expected {kinds} with N >= 1, got {text!r}")
        return cls(kind, _at_most(number) if kind == "steps" else number)

    def __str__(self) -> str:
        return f"{self.kind}={self.amount:.15g}"


@dataclass(frozen=True)
class Costs:
    """The cost of an optimiser step.

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

    def steps(self, budget: Budget) -> int:
        """How many optimiser steps a budget pays for, at least one.

        Raises:
            UserError: The cost is unknown, or the steps are too many.
        """
        cost = 1.0 if budget.kind == "steps" else getattr(self, budget.kind)
        if isnan(cost) or cost <= 0:
            reason = self.error or "it takes too little"
            raise UserError(f"a step's {budget.kind} could not be counted: {reason}")
        return max(1, round(_at_most(budget.amount / cost)))


def step_costs(
    runs: Sequence[PlannedRun], execute: Execute, timed: bool = False, probes: tuple[int, int] | None = None
) -> dict[str, Costs]:
    """Measure what an optimiser step of every method costs.

    Two runs of different lengths are compared, so that what a run costs once (loading, the prompt, the
    results) drops out. Counting operations slows a run, so seconds need two more.

    Args:
        runs: One of every method, of any length.
        execute: See `execution.executor`.
        timed: Measure seconds too.
        probes: Steps of the two runs; `PROBES` by default.

    Returns:
        By the methods' labels.
    """
    pairs = {
        run: [
            [replace(run, steps=steps, counted=counted) for steps in probes or PROBES]
            for counted in ((True, False) if timed else (True,))
        ]
        for run in runs
    }
    failed = run_all([one for both in pairs.values() for pair in both for one in pair], execute)
    found = {}
    for run, both in pairs.items():
        errors = [failed[one] for pair in both for one in pair if one in failed]
        found[run.method.label] = Costs(error=errors[0]) if errors else _costs(*both)
    return found


def _costs(counted: Sequence[PlannedRun], plain: Sequence[PlannedRun] = ()) -> Costs:
    flop = _per_step(counted, lambda run: run.done.flop / run.particles)
    nfe = _per_step(counted, lambda run: Run(run.folder).nfe)
    return Costs(nfe, flop, _per_step(plain, lambda run: run.done.seconds) if plain else nan)


def _per_step(pair: Sequence[PlannedRun], of: Callable[[PlannedRun], float]) -> float:
    short, long = pair
    return (of(long) - of(short)) / (long.steps - short.steps)
