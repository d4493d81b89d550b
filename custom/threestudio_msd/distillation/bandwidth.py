"""Bandwidths, lambda as a function of progress or of the shifts seen so far, and the
test of convergence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ..fields import Checked, number
from .protocols import Bandwidth, Batch, Level, PerSample, State
from .tensors import expand, on_device, rms

KEEP = 0.5
"""Weight of the average so far against the next shift; see `smoothed`."""
NARROWEST, WIDEST = 1e-6, 1e6
"""Far beyond any space that a kernel may live in."""


@dataclass(frozen=True)
class Falling(Checked):
    """A bandwidth that goes from `start` to `end` and keeps no state.

    Raises:
        FieldError: If an end is not a positive, finite number.
    """

    start: float = number(least=NARROWEST, most=WIDEST)
    end: float = number(least=NARROWEST, most=WIDEST)

    @property
    def last(self) -> float:
        return self.at(1.0)

    def init(self, y: Batch) -> State:
        return {}

    def __call__(self, progress: float, state: State | None = None) -> float | PerSample:
        return self.at(min(max(progress, 0.0), 1.0))

    def at(self, progress: float) -> float:
        """Lambda at `progress` in [0, 1]."""
        raise NotImplementedError

    def step(self, state: State, shift: Batch) -> State:
        return state


@dataclass(frozen=True)
class Constant(Falling):
    """Lambda stays at `start`."""

    def at(self, progress: float) -> float:
        return self.start


@dataclass(frozen=True)
class Linear(Falling):
    """Straight line, the paper's schedule on toys (section 4.2)."""

    def at(self, progress: float) -> float:
        return self.start + progress * (self.end - self.start)


@dataclass(frozen=True)
class Cosine(Falling):
    """Half a cosine: slow at both ends."""

    def at(self, progress: float) -> float:
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * progress)) / 2


@dataclass(frozen=True)
class Exponential(Falling):
    """A constant factor a step: as many steps at every scale."""

    def at(self, progress: float) -> float:
        return self.start * (self.end / self.start) ** progress


@dataclass(frozen=True)
class Adaptive(Falling):
    """Annealed mean shift: every sample lowers its lambda only once its shift has
    converged.

    The shift is averaged over the estimates made at one lambda, since a single sample
    of the product density carries noise of about lambda itself. Lambda falls by `rate`
    when the average satisfies `converged`, or after `patience` estimates; progress has
    no effect. The state holds for every sample `lam`, and the `sum` and `count` of the
    shifts seen at it.

    Args:
        rate: Factor by which lambda falls, in (0, 1).
        tau: Threshold of convergence, see `converged`.
        patience: Most estimates made at one lambda.
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
    "adaptive": Adaptive,
}


def converged(shift: Batch, lam: float | Level, tau: float) -> torch.Tensor:
    """Tell which samples have converged: ||m|| <= tau * lambda * sqrt(dim) (section
    3.2).

    Args:
        shift: Mean-shift vectors m, `[B, ...]`.
        lam: Bandwidth, a number or `[B]`.
        tau: Threshold, relative to the kernel's own radius.

    Returns:
        Booleans, `[B]`.
    """
    return rms(shift) <= tau * on_device(lam, shift.device, shift.dtype)


def smoothed(before: Batch, shift: Batch) -> Batch:
    """Update the running average of the shifts at the final lambda, which `converged`
    decides by.

    Args:
        before: The average so far, `[B, ...]`; after one shift, that shift.
        shift: The next shift, `[B, ...]`.

    Returns:
        `KEEP` parts of `before` and the rest of `shift`, `[B, ...]`.
    """
    return KEEP * before + (1 - KEEP) * shift
