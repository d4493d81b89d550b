"""What a particle, or a camera that comes again, is pulled to until it is estimated anew."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class KeptTarget:
    """The last estimate of one particle's x'.

    Attributes:
        latents: x', `[C, h, w]`.
        sigma: The bandwidth it was estimated at, 0-d.
        images: x' decoded, `[3, H, W]`, once that was asked for.
        age: Steps that have fitted it.
        shift: The mean-shift vector, averaged over the estimates at the last lambda; None before those.
        finished: Whether it is estimated no more.
    """

    latents: Tensor
    sigma: Tensor
    images: Tensor | None = None
    age: int = 0
    shift: Tensor | None = None
    finished: bool = False

    def older(self) -> KeptTarget:
        """The same after one more step has fitted it."""
        return replace(self, age=self.age + 1)

    def checkpoint(self) -> dict[str, Any]:
        """What restores it; the decoded images are made anew."""
        names = ("latents", "sigma", "age", "shift", "finished")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def restored(cls, state: dict[str, Any], device: torch.device | str) -> KeptTarget:
        """From `checkpoint`."""
        return cls(
            **{
                name: value.to(device) if isinstance(value, Tensor) else value
                for name, value in state.items()
            }
        )
