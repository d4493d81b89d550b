"""Details of the objects, such as a house's door, and whether a render shows them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .render import RESOLUTION, Geometry
from .shapes import MATERIALS

# pixels of a 64 x 64 image: a detail is seen from the first number on, unseen up to the second
SEEN, UNSEEN = 8.0, 1.0


@dataclass(frozen=True)
class Detail:
    """A part of an object, defined by materials and by place.

    Attributes:
        name: Its name, such as ``"door"``.
        materials: Its materials, out of
            [`MATERIALS`][msd_lab.tinyworld.shapes.MATERIALS].
        where: Maps points ``[..., 3]`` of these materials to whether they belong to it;
            all by default.
    """

    name: str
    materials: tuple[str, ...]
    where: Callable[[Tensor], Tensor] | None = None

    def pixels(self, geometry: Geometry) -> Tensor:
        """Count its pixels, as if images were 64 x 64, ``[n]``."""
        ids = torch.tensor([list(MATERIALS).index(name) for name in self.materials])
        hit = torch.isin(geometry.material, ids.to(geometry.material.dtype))
        if self.where is not None:
            hit = hit & self.where(geometry.position)
        return hit.float().mean((1, 2)) * RESOLUTION**2


# two for each object of [`OBJECTS`][msd_lab.tinyworld.world.OBJECTS]
DETAILS: dict[str, tuple[Detail, Detail]] = {
    "airplane": (Detail("windscreen", ("dark",)), Detail("tail fin", ("amber",))),
    "boat": (Detail("cabin", ("white",)), Detail("windows", ("dark",))),
    "car": (Detail("headlights", ("glow",)), Detail("windows", ("glass",))),
    "cat": (Detail("eyes", ("dark",)), Detail("tail", ("white",), lambda p: p[..., 0] < -0.3)),
    "chair": (Detail("legs", ("wood",)), Detail("cushion", ("white",))),
    "duck": (Detail("beak", ("amber",)), Detail("eyes", ("dark",))),
    "fish": (Detail("eyes", ("dark",)), Detail("tail", ("shade",), lambda p: p[..., 0] < -0.3)),
    "house": (
        Detail("door", ("wood",)),
        Detail("windows", ("white", "glass"), lambda p: p[..., 2] < 0.02),
    ),
    "mug": (
        Detail("handle", ("body",), lambda p: p[..., 1] > 0.27),
        Detail("badge", ("white",), lambda p: p[..., 0].square() + (p[..., 1] + 0.06).square() > 0.08),
    ),
    "robot": (Detail("eyes", ("glow",)), Detail("chest panel", ("white",))),
    "rocket": (Detail("porthole", ("dark",)), Detail("back fin", ("amber",))),
    "teapot": (
        Detail("spout", ("body", "dark"), lambda p: p[..., 0] > 0.33),
        Detail("handle", ("body", "wood"), lambda p: p[..., 0] < -0.33),
    ),
}

# objects whose azimuth only their details show
ROUND: tuple[str, ...] = ("mug", "rocket", "teapot")


def seen_details(name: str, geometry: Geometry) -> Tensor:
    """Decide which of an object's two details its renders show.

    Args:
        name: The object.
        geometry: First hits of ``n`` renders.

    Returns:
        int8 ``[n, 2]``: 1 seen, 0 not seen, -1 undecided.
    """
    pixels = torch.stack([detail.pixels(geometry) for detail in DETAILS[name]], -1)
    return torch.where(pixels >= SEEN, 1, torch.where(pixels <= UNSEEN, 0, -1)).to(torch.int8)
