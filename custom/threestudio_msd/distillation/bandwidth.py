"""Bandwidths: lambda as a function of progress, and the convergence criterion.

A schedule is called with the progress of the optimisation in [0, 1] and returns lambda; after each estimate
the caller tells it the shift by `observe`, which only `Adaptive` listens to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .tensors import expand, rms


@dataclass(frozen=True)
class Bandwidth:
    """A bandwidth that falls from `start` to `end`, in the units of the space the kernel lives in.

    Raises:
        ValueError: If an end is not a positive, finite number.
    """

    start: float
    end: float

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"bandwidth {name} must be positive and finite, got {value}")

    def __call__(self, progress: float) -> float:
        """Lambda at `progress`; values outside [0, 1] count as its ends."""
        raise NotImplementedError

    def observe(self, shift: Tensor) -> None:
        """Hear the mean-shift vectors `[B, ...]` estimated at the present lambda."""


@dataclass(frozen=True)
class Constant(Bandwidth):
    """Lambda stays at `start`."""

    def __call__(self, progress: float) -> float:
        """Lambda, whatever the progress."""
        return self.start


@dataclass(frozen=True)
class Linear(Bandwidth):
    """Straight line: the paper's schedule on toys (section 4.2)."""

    def __call__(self, progress: float) -> float:
        """Lambda at `progress`."""
        return self.start + _clip(progress) * (self.end - self.start)


@dataclass(frozen=True)
class Cosine(Bandwidth):
    """Half a cosine: slow at both ends."""

    def __call__(self, progress: float) -> float:
        """Lambda at `progress`."""
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * _clip(progress))) / 2


@dataclass(frozen=True)
class Exponential(Bandwidth):
    """A constant factor a step: as many steps at every scale."""

    def __call__(self, progress: float) -> float:
        """Lambda at `progress`."""
        return self.start * (self.end / self.start) ** _clip(progress)


@dataclass(frozen=True)
class Adaptive(Bandwidth):
    """Annealed mean shift: every sample lowers its lambda only once its shift has converged.

    The shift is averaged over the estimates made at one lambda, since a single sample of the product density
    carries noise of about lambda itself. The level falls by `rate` when the average satisfies `converged`, or
    after `patience` estimates.

    Args:
        rate: Factor by which lambda falls, in (0, 1).
        tau: Threshold of convergence, see `converged`.
        patience: Most estimates made at one lambda, >= 1.
    """

    rate: float = 0.8
    tau: float = 0.2
    patience: int = 20
    state: dict[str, Tensor] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.rate < 1:
            raise ValueError(f"bandwidth rate must lie in (0, 1), got {self.rate}")
        if self.patience < 1:
            raise ValueError(f"bandwidth patience must be at least 1, got {self.patience}")

    def __call__(self, progress: float) -> float | Tensor:
        """Lambda by sample, `[B]`; `start` before anything was observed. Progress plays no part."""
        return self.state.get("lam", self.start)

    def observe(self, shift: Tensor) -> None:
        """Average the shift `[B, ...]` in; lower lambda where it has converged."""
        if not self.state:
            batch = shift.shape[0]
            self.state["lam"] = torch.full((batch,), float(self.start), device=shift.device)
            self.state["sum"] = torch.zeros_like(shift)
            self.state["count"] = torch.zeros(batch, device=shift.device)
        lam, count = self.state["lam"], self.state["count"] + 1
        total = self.state["sum"] + shift
        done = converged(total / expand(count, total), lam, self.tau) | (count >= self.patience)
        self.state["lam"] = torch.where(done, (lam * self.rate).clamp(min=self.end), lam)
        self.state["sum"] = torch.where(expand(done.to(total), total) > 0, torch.zeros_like(total), total)
        self.state["count"] = torch.where(done, torch.zeros_like(count), count)

    @property
    def finished(self) -> bool:
        """Whether every sample has reached `end`."""
        return bool(self.state) and bool((self.state["lam"] <= self.end).all())


SCHEDULES: dict[str, type[Bandwidth]] = {
    "constant": Constant,
    "linear": Linear,
    "cosine": Cosine,
    "exponential": Exponential,
    "adaptive": Adaptive,
}


def converged(shift: Tensor, lam: float | Tensor, tau: float) -> Tensor:
    """The method's criterion of convergence: ||m|| <= tau * lambda * sqrt(dim), sample by sample (section 3.2).

    Args:
        shift: Mean-shift vectors m, `[B, ...]`.
        lam: Bandwidth, a number or `[B]`.
        tau: Threshold, relative to the kernel's own radius.

    Returns:
        Booleans, `[B]`.
    """
    return rms(shift) <= tau * torch.as_tensor(lam, dtype=shift.dtype, device=shift.device)


def _clip(progress: float) -> float:
    return min(max(progress, 0.0), 1.0)
