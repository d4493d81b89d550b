"""The training images of the tiny world, rendered once and kept in a cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from rich.progress import track
from safetensors import safe_open
from threestudio_msd.files import save_tensors
from torch import Tensor

from ..tinyworld.details import ROUND, seen_details
from ..tinyworld.render import (
    RESOLUTION,
    SUPERSAMPLING,
    Cameras,
    balanced_cameras,
    sample_cameras,
    sample_lighting,
    shade,
    trace,
)
from ..tinyworld.shapes import MATERIALS
from ..tinyworld.world import COLOURS, HELD_OUT, OBJECTS, VIEWS, Caption

VERSION = 2
"""Of what the renders show: raised when shapes, cameras, light or details change; caches are then made anew.
"""
_CHUNK = 16  # cameras traced at once: keeps the rays in the processor's cache


@dataclass(frozen=True)
class Images:
    """Labelled images.

    Attributes:
        rgb: uint8 ``[n, 3, 64, 64]``.
        object: Index into [`OBJECTS`][msd_lab.tinyworld.world.OBJECTS], int64 ``[n]``.
        colour: Index into [`COLOURS`][msd_lab.tinyworld.world.COLOURS], int64 ``[n]``.
        view: Index into [`VIEWS`][msd_lab.tinyworld.world.VIEWS], int64 ``[n]``.
        azimuth: The camera's, degrees, ``[n]``.
        elevation: The camera's, degrees, ``[n]``.
        details: What [`seen_details`][msd_lab.tinyworld.details.seen_details] says, int8 ``[n, 2]``.
    """

    rgb: Tensor
    object: Tensor
    colour: Tensor
    view: Tensor
    azimuth: Tensor
    elevation: Tensor
    details: Tensor

    def __len__(self) -> int:
        return len(self.rgb)

    def __getitem__(self, index: slice | Tensor) -> Images:
        return Images(*(getattr(self, field.name)[index] for field in fields(self)))

    @property
    def float(self) -> Tensor:
        """The images in [0, 1]."""
        return self.rgb.float() / 255

    @property
    def turned(self) -> Tensor:
        """Whether an image's form tells its azimuth, ``[n]``: a round body's does by its details only."""
        round_body = torch.isin(self.object, torch.tensor([OBJECTS.index(name) for name in ROUND]))
        return ~round_body | (self.details == 1).any(-1)

    def seen(self) -> Images:
        """Without the (object, colour) pairs that are held out of the prior's training."""
        held_out = torch.zeros(len(OBJECTS), len(COLOURS), dtype=torch.bool)
        for name, colour in HELD_OUT:
            held_out[OBJECTS.index(name), list(COLOURS).index(colour)] = True
        return self[~held_out[self.object, self.colour]]


@dataclass(frozen=True)
class DataConfig:
    """How many images: `views` cameras for each object, each shaded in `colours_per_view` colours."""

    views: int = 720
    colours_per_view: int = 4
    seed: int = 0


def render_images(config: DataConfig, progress: bool = True) -> Images:
    """Renders labelled images of every object from `config.views` sides; colours and views take turns, so all
    come equally often.

    The order is shuffled, so any slice is a fair sample.
    """
    generator = torch.Generator().manual_seed(config.seed)
    chunks: Iterable[tuple[str, int]] = [
        (name, min(_CHUNK, config.views - start))
        for name in OBJECTS
        for start in range(0, config.views, _CHUNK)
    ]
    parts: list[Images] = []
    for turn, (name, n) in enumerate(track(chunks, "rendering", disable=not progress)):
        cameras = balanced_cameras(n, generator)
        apart = [k * len(COLOURS) // config.colours_per_view for k in range(config.colours_per_view)]
        colours = [(torch.arange(n) + turn + step) % len(COLOURS) for step in apart]
        parts += shade_images(name, cameras, colours, generator)
    images = joined(parts)
    return images[torch.randperm(len(images), generator=generator)]


def render_captions(captions: Sequence[Caption], seed: int) -> Images:
    """A labelled true render for each caption, in order, each by a camera and in a light of its own.

    A caption without a view is seen from any, all about equally often.
    """
    generator = torch.Generator().manual_seed(seed)
    alike: dict[tuple[str, str | None], list[int]] = {}
    for i, caption in enumerate(captions):
        alike.setdefault((caption.object, caption.view), []).append(i)
    parts: list[Images] = []
    for (name, view), rows in alike.items():
        n = len(rows)
        cameras = sample_cameras(n, generator, view) if view else balanced_cameras(n, generator)
        colour = torch.tensor([list(COLOURS).index(captions[i].colour) for i in rows])
        parts += shade_images(name, cameras, [colour], generator)
    order = torch.tensor([i for rows in alike.values() for i in rows]).argsort()
    return joined(parts)[order]


def shade_images(
    name: str, cameras: Cameras, colours: Sequence[Tensor], generator: torch.Generator
) -> list[Images]:
    """Labelled images of an object, traced once and shaded in other light for each of `colours` ``[n]``."""
    albedo = torch.tensor(list(COLOURS.values()))
    geometry = trace(name, cameras)
    labels = {
        "object": torch.full((len(cameras),), OBJECTS.index(name)),
        "view": torch.tensor([VIEWS.index(view) for view in cameras.views]),
        "azimuth": cameras.azimuth,
        "elevation": cameras.elevation,
        "details": seen_details(name, geometry),
    }
    shaded = (shade(geometry, albedo[c], sample_lighting(cameras, generator)) for c in colours)
    bytes_ = ((images.permute(0, 3, 1, 2) * 255).round().byte().contiguous() for images in shaded)
    return [Images(rgb=rgb, colour=c, **labels) for rgb, c in zip(bytes_, colours, strict=True)]


def joined(parts: Sequence[Images]) -> Images:
    """All images of the parts, in order."""
    return Images(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Images)))


def cached_images(config: DataConfig, cache: Path, progress: bool = True) -> Images:
    """[`render_images`][] through a cache folder; a changed world or configuration is a different file."""
    world = [VERSION, RESOLUTION, SUPERSAMPLING, OBJECTS, COLOURS, MATERIALS]
    name = hashlib.sha256(json.dumps([asdict(config), *world]).encode()).hexdigest()[:16]
    path = cache / f"images-{name}.safetensors"
    if not path.is_file():
        images = render_images(config, progress)
        save_tensors(vars(images), path)
    with safe_open(path, "pt") as file:
        return Images(**{key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118 (not a mapping)
