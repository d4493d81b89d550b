"""Rounds: targets of many views, estimated once and held while a field is fitted to rays
of all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..processes import moved
from .view import Renders


class Round:
    """The targets of a round's views.

    Attributes:
        number: Of the round; None before the first.
        images: The decoded target of every view, `[H, W, 3]` by index.
        values: What the estimates had to log, averaged over the views.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.images: dict[int, Tensor] = {}
        self.values: dict[str, float] = {}

    def begin(self, number: int) -> None:
        self.number, self.images, self.values = number, {}, {}

    def put(self, keys: Sequence[int], images: Renders, values: Mapping[str, Any]) -> None:
        """Add the targets of some views, and average their values in."""
        before, n = len(self.images), len(keys)
        self.images |= dict(zip(keys, images, strict=True))
        for name, value in values.items():
            mean = self.values.get(name, 0.0)
            self.values[name] = mean + (float(value) - mean) * n / (before + n)

    def targets(self, keys: Sequence[int]) -> tuple[Renders, Float[Tensor, "B 3"]]:
        """Return the targets of some views, `[B, H, W, 3]`, and their backgrounds."""
        images = torch.stack([self.images[key] for key in keys])
        return images, background_of(images)

    def checkpoint(self) -> dict[str, Any]:
        """Return plain data and tensors that `restore` takes."""
        if self.number is None:
            return {}
        return {"round": self.number, "round_images": self.images, "round_values": self.values}

    def restore(self, saved: Mapping[str, Any], device: torch.device | str) -> None:
        """Take up `checkpoint` again; without its keys there was no round yet."""
        self.number, self.values = saved.get("round"), dict(saved.get("round_values", {}))
        self.images = moved(saved.get("round_images", {}), torch.device(device))


def background_of(images: Renders) -> Float[Tensor, "B 3"]:
    """Take the median colour of each image's border for its background."""
    rows, columns = images[:, [0, -1]].flatten(1, 2), images[:, :, [0, -1]].flatten(1, 2)
    return torch.cat([rows, columns], 1).median(1).values
