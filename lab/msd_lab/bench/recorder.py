"""Records what runs on tensors with or without values: operations, bytes that they move, memory in use."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ..measure.flop import ON_CPU
from .steps import LiveBytes


@dataclass(frozen=True)
class Operation:
    """A kind of kernel.

    Attributes:
        dtype: Of its result.
        flop: Floating point operations; 0 for what torch does not count.
        bytes: Read and written.
    """

    dtype: torch.dtype
    flop: float
    bytes: float


@dataclass
class Work:
    """What was done: how often every operation, and the most bytes in use at once, without the weights."""

    operations: Counter[Operation] = field(default_factory=Counter)
    peak: float = 0.0

    @property
    def flop(self) -> float:
        return sum(count * operation.flop for operation, count in self.operations.items())

    def add(self, other: Work, times: float = 1.0) -> None:
        """Add work that is done so many times, one after the other."""
        for operation, count in other.operations.items():
            self.operations[operation] += count * times
        self.peak = max(self.peak, other.peak)


class Recorder(LiveBytes):
    """Records the operations of what runs meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.formulas = FlopCounterMode(display=False, custom_mapping=ON_CPU).flop_registry

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = super().__torch_dispatch__(function, types, args, kwargs)
        tensors = [x for x in (*args, *(kwargs or {}).values(), made) if isinstance(x, Tensor)]
        if tensors and not function.is_view:
            formula = self.formulas.get(function._overloadpacket)
            flop = formula(*args, **(kwargs or {}), out_val=made) if formula else 0
            moved = sum(x.numel() * x.element_size() for x in tensors)
            self.operations.append(Operation(tensors[-1].dtype, flop, moved))
        return made
