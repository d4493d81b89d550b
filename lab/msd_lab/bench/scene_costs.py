"""What rendering a scene takes: done on the CPU, by a part of the rays, and extended to all of them.

How many samples a ray has depends on what is empty, so the scene is the one that the config begins with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import threestudio
import torch
from pytorch_lightning import seed_everything
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor

from .recorder import Operation, Recorder, Work

MOST_RAYS = 2048
FEWER = 8  # times; of a second rendering, which tells what does not depend on the rays
GOLDEN = 0.6180339887498949  # multiples of it, less their whole parts, cover [0, 1) evenly
PARTS = ("geometry", "material", "background")


@dataclass(frozen=True)
class Rendered:
    """A rendering of some rays.

    Attributes:
        operations: In their order.
        peak: Most bytes in use at once, without the parameters.
        kept: Bytes in use when the pictures are made, for their gradient.
    """

    operations: list[Operation]
    peak: float
    kept: float

    def extended(self, fewer: Rendered, factor: float) -> Rendered:
        """Extend to more rays, along the line through the rendering of `FEWER` times fewer."""
        beyond = (factor - 1) * FEWER / (FEWER - 1)

        def line(low: float, high: float) -> float:
            return max(high + (high - low) * beyond, 0.0)

        pairs = zip(fewer.operations, self.operations, strict=True)
        operations = [Operation(b.dtype, line(a.flop, b.flop), line(a.bytes, b.bytes)) for a, b in pairs]
        kept = line(fewer.kept, self.kept)
        return Rendered(operations, kept + line(fewer.peak - fewer.kept, self.peak - self.kept), kept)

    @property
    def work(self) -> Work:
        return Work(Counter(self.operations), self.peak)


class Scene:
    """A config's scene as it begins.

    Args:
        system: The settings of a text-to-3D system.
    """

    def __init__(self, system: Mapping[str, Any]) -> None:
        parts = {part: threestudio.find(system[f"{part}_type"])(system.get(part, {})) for part in PARTS}
        self.renderer = threestudio.find(system["renderer_type"])(system["renderer"], **parts).train()
        self.parts = parts
        self.renderer.do_update_step(0, 0)  # finds what is empty

    def parameters(self) -> list[Tensor]:
        return [p for part in self.parts.values() for p in part.parameters() if p.requires_grad]

    @property
    def bytes(self) -> int:
        """Of the parameters and Adam's two moments; gradients are in the renderings."""
        return 3 * sum(p.nbytes for p in self.parameters())

    def render(self, batch: Mapping[str, Any], rays: Tensor | None = None, trains: bool = True) -> Rendered:
        """Render a batch's views, with a gradient if it trains.

        Args:
            batch: Cameras, as the data module makes them.
            rays: Numbers of the pixels to render; all by default.
            trains: Whether there is a gradient.
        """
        rays = torch.arange(prod(batch["rays_o"].shape[:3])) if rays is None else rays
        places = torch.arange(min(len(rays), MOST_RAYS) // FEWER * FEWER, dtype=torch.float64) * GOLDEN % 1
        some = rays[(places * len(rays)).long()]
        more, fewer = (self._rendered(batch, chosen, trains) for chosen in (some, some[: len(some) // FEWER]))
        return more.extended(fewer, len(rays) / len(some))

    def _rendered(self, batch: Mapping[str, Any], rays: Tensor, trains: bool) -> Rendered:
        _, height, width = batch["rays_o"].shape[:3]
        chosen = {name: batch[name].flatten(0, 2)[rays][:, None, None] for name in ("rays_o", "rays_d")}
        lights = batch["light_positions"][rays // (height * width)]
        with isolate_rng(), Recorder() as recorder, torch.set_grad_enabled(trains):
            seed_everything(0, verbose=False)  # backgrounds are augmented at random
            out = self.renderer(**{**batch, **chosen, "light_positions": lights, "height": 1, "width": 1})
            kept = recorder.live
            if trains:
                sum(out[name].sum() for name in ("comp_rgb", "opacity", "normal") if name in out).backward()
        peak = recorder.peak
        for parameter in self.parameters():
            parameter.grad = None
        return Rendered(recorder.operations, peak, kept)

    def step(self, optimiser: torch.optim.Optimizer) -> Work:
        """Record an optimiser's step."""
        for parameter in self.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimiser.step()  # makes the moments
        with Recorder() as recorder:
            optimiser.step()
        optimiser.zero_grad()
        return Work(Counter(recorder.operations), recorder.peak)
