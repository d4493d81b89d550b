"""Bandwidths, lambda as a function of progress or of the shifts seen so far, and the
test of convergence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ..fields import Checked, FieldError, number
from .protocols import Bandwidth, Batch, Level, PerSample, State
from .tensors import expand, on_device, rms

KEEP = 0.5
"""Weight of the average so far against the next shift; see `smoothed`."""
NARROWEST, WIDEST = 1e-6, 1e6
"""Far beyond any space that a kernel may live in."""


class Scheduled(Checked):
    """Base of the bandwidths that follow the progress of the optimisation and keep no
    state.

    Called as `bandwidth(progress)`, it returns lambda as a number; progress outside [0,
    1] counts as 0 or 1. A subclass defines the curve, `at`.
    """

    @property
    def last(self) -> float:
        return self.at(1.0)

    def init(self, y: Batch) -> State:
        return {}

    def __call__(self, progress: float, state: State | None = None) -> float | PerSample:
        return self.at(min(max(progress, 0.0), 1.0))

    def at(self, progress: float) -> float:
        """Return lambda at a progress in [0, 1]; a subclass must define it.

        Raises:
            NotImplementedError: The class is `Falling` itself.
        """
        raise NotImplementedError

    def step(self, state: State, shift: Batch) -> State:
        return state


@dataclass(frozen=True)
class Falling(Scheduled):
    """Base of the bandwidths that go from `start` to `end`.

    Args:
        start: lambda at progress 0, in [1e-6, 1e6].
        end: lambda at progress 1, in the same range.

    Raises:
        FieldError: `start` or `end` is out of range.
    """

    start: float = number(least=NARROWEST, most=WIDEST)
    end: float = number(least=NARROWEST, most=WIDEST)


@dataclass(frozen=True)
class Levels(Scheduled):
    """Lambda takes the values of a list in turn, each for an equal part of the
    optimisation: one a round, where there are rounds.

    Args:
        values: The bandwidths.

    Raises:
        FieldError: There is none, or one is not a positive, finite number.
    """

    values: tuple[float, ...] = number(least=NARROWEST, most=WIDEST)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.values:
            raise FieldError("values: expected at least one number, got none")

    def at(self, progress: float) -> float:
        return self.values[min(int(progress * len(self.values)), len(self.values) - 1)]


@dataclass(frozen=True)
class Constant(Falling):
    """A bandwidth that stays at `start`: called with any progress, it returns `start`.

    `end` has to be given, but has no effect.
    """

    def at(self, progress: float) -> float:
        return self.start


@dataclass(frozen=True)
class Linear(Falling):
    """A bandwidth on a straight line from `start` at progress 0 to `end` at progress 1,
    as the paper's on toys (section 4.2).
    """

    def at(self, progress: float) -> float:
        return self.start + progress * (self.end - self.start)


@dataclass(frozen=True)
class Cosine(Falling):
    """A bandwidth that follows half a cosine from `start` at progress 0 to `end` at
    progress 1: slow at both ends.
    """

    def at(self, progress: float) -> float:
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * progress)) / 2


@dataclass(frozen=True)
class Exponential(Falling):
    """A bandwidth start (end / start)^progress: it falls by the same factor at every
    step.
    """

    def at(self, progress: float) -> float:
        return self.start * (self.end / self.start) ** progress


@dataclass(frozen=True)
class Adaptive(Falling):
    """A bandwidth that falls for every sample apart, once that sample's mean shift has
    converged (annealed mean shift).

    The shift is averaged over the estimates made at one lambda, since one draw from the
    product density carries noise of about lambda itself. lambda falls by the factor
    `rate`, but not below `end`, when the average m has ||m|| <= tau lambda sqrt(dim),
    or after `patience` estimates. Progress has no effect. Called with its state, it
    returns lambda, `[B]`; without one, `start`.

    The state holds `lam` and `count`, `[B]`, and `sum`, `[B, ...]`: the present lambda,
    the number of estimates made at it, and the sum of their shifts.

    Args:
        rate: Factor by which lambda falls, in (0, 1).
        tau: Threshold of convergence, >= 0, relative to lambda sqrt(dim).
        patience: Most estimates made at one lambda, >= 1.
    """

    rate: float = number(0.8, above=0, below=1)
    tau: float = number(0.2, least=0)
    patience: int = number(20, least=1)

    @property
    def last(self) -> float:
        return self.end

    def init(self, y: Batch) -> State:
        per_sample = torch.zeros(len(y), device=y.device)
        return {"lam": per_sample + self.start, "sum": torch.zeros_like(y), "count": per_sample}

    def __call__(self, progress: float, state: State | None = None) -> float | PerSample:
        return state["lam"] if state else self.start

    def step(self, state: State, shift: Batch) -> State:
        lam, total, count = state["lam"], state["sum"] + shift, state["count"] + 1
        done = converged(total / expand(count, total), lam, self.tau) | (count >= self.patience)
        return {
            "lam": torch.where(done, (lam * self.rate).clamp(min=self.end), lam),
            "sum": torch.where(expand(done.to(total), total) > 0, 0.0, total),
            "count": torch.where(done, 0.0, count),
        }


SCHEDULES: dict[str, type[Bandwidth]] = {
    "constant": Constant,
    "linear": Linear,
    "cosine": Cosine,
    "exponential": Exponential,
    "levels": Levels,
    "adaptive": Adaptive,
}


def converged(shift: Batch, lam: float | Level, tau: float) -> torch.Tensor:
    """Tell which samples have converged: ||m|| <= tau lambda sqrt(dim) (section 3.2).

    Args:
        shift: Mean-shift vectors m, `[B, ...]`.
        lam: Bandwidth, a number, 0-d or `[B]`.
        tau: Threshold, relative to the kernel's own radius lambda sqrt(dim).

    Returns:
        Booleans, `[B]`.
    """
    return rms(shift) <= tau * on_device(lam, shift.device, shift.dtype)


def smoothed(before: Batch, shift: Batch) -> Batch:
    """Update a running average of mean-shift vectors: half the average so far and half
    the next vector.

    Args:
        before: The average so far, `[B, ...]`; after one vector, that vector.
        shift: The next vector, `[B, ...]`.

    Returns:
        The new average, `[B, ...]`.
    """
    return KEEP * before + (1 - KEEP) * shift
