"""Labelled renders of the tiny world, rendered once and kept in a cache."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import torch
from safetensors.torch import load_file
from threestudio_msd.files import save_tensors
from torch import Tensor

from ..tinyworld.details import ROUND, seen_details
from ..tinyworld.render import (
    RESOLUTION,
    SUPERSAMPLING,
    Cameras,
    Rows,
    balanced_cameras,
    sample_cameras,
    sample_lighting,
    shade,
    trace,
)
from ..tinyworld.shapes import MATERIALS
from ..tinyworld.world import COLOURS, OBJECTS, VIEWS, Caption
from .loop import progress

# version of the renders: raised when shapes, cameras, light or details change; caches are then
# made anew
VERSION = 2
COLOUR_NAMES = tuple(COLOURS)
_CHUNK = 16  # cameras traced at once: keeps the rays in the processor's cache


def uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    return low + (high - low) * torch.rand(*shape, generator=generator)


def chosen(share: float, n: int, generator: torch.Generator) -> Tensor:
    """Choose a share of n images at random, bool ``[n, 1, 1, 1]``."""
    return torch.rand(n, 1, 1, 1, generator=generator) < share


@dataclass(frozen=True)
class Images(Rows):
    """Labelled images.

    Attributes:
        rgb: uint8 ``[n, 3, 64, 64]``.
        object: Index into [`OBJECTS`][msd_lab.tinyworld.world.OBJECTS], int64 ``[n]``.
        colour: Index into [`COLOURS`][msd_lab.tinyworld.world.COLOURS], int64 ``[n]``.
        view: Index into [`VIEWS`][msd_lab.tinyworld.world.VIEWS], int64 ``[n]``.
        azimuth: The camera's, degrees, ``[n]``.
        elevation: The camera's, degrees, ``[n]``.
        details: See [`seen_details`][msd_lab.tinyworld.details.seen_details], int8
            ``[n, 2]``.
    """

    rgb: Tensor
    object: Tensor
    colour: Tensor
    view: Tensor
    azimuth: Tensor
    elevation: Tensor
    details: Tensor

    @property
    def float(self) -> Tensor:
        return self.rgb.float() / 255

    @property
    def captions(self) -> list[Caption]:
        labels = zip(self.object, self.colour, self.view, strict=True)
        return [Caption(OBJECTS[o], COLOUR_NAMES[c], VIEWS[v]) for o, c, v in labels]

    @property
    def turned(self) -> Tensor:
        """Whether an image shows its azimuth, bool ``[n]``: a round body does by its details only."""
        round_body = torch.isin(self.object, torch.tensor([OBJECTS.index(name) for name in ROUND]))
        return ~round_body | (self.details == 1).any(-1)

    def seen(self) -> Images:
        """Leave out the (object, colour) pairs that are held out of the prior's training."""
        return self[torch.tensor([not caption.held_out for caption in self.captions])]


@dataclass(frozen=True)
class DataConfig:
    """Numbers of images: `views` cameras for each object, each shaded in `colours_per_view` colours."""

    views: int = 720
    colours_per_view: int = 4
    seed: int = 0


def render_images(config: DataConfig) -> Images:
    """Render labelled images of every object; colours and views take turns, so all come equally often.

    The order is shuffled, so any slice is a fair sample.
    """
    generator = torch.Generator().manual_seed(config.seed)
    starts = range(0, config.views, _CHUNK)
    chunks = [(name, min(_CHUNK, config.views - start)) for name in OBJECTS for start in starts]
    steps = [k * len(COLOURS) // config.colours_per_view for k in range(config.colours_per_view)]
    parts: list[Images] = []
    for turn, (name, n) in enumerate(progress(chunks, "rendering")):
        cameras = balanced_cameras(n, generator)
        colours = [(torch.arange(n) + turn + step) % len(COLOURS) for step in steps]
        parts += shade_images(name, cameras, colours, generator)
    images = Images.joined(parts)
    return images[torch.randperm(len(images), generator=generator)]


def render_captions(captions: Sequence[Caption], seed: int) -> Images:
    """Render a labelled image for each caption, in order, each with its own camera and light.

    A caption without a view is seen from any, all about equally often.
    """
    generator = torch.Generator().manual_seed(seed)
    alike: dict[tuple[str, str | None], list[int]] = defaultdict(list)
    for i, caption in enumerate(captions):
        alike[caption.object, caption.view].append(i)
    parts: list[Images] = []
    for (name, view), rows in alike.items():
        n = len(rows)
        cameras = sample_cameras(n, generator, view) if view else balanced_cameras(n, generator)
        colour = torch.tensor([COLOUR_NAMES.index(captions[i].colour) for i in rows])
        parts += shade_images(name, cameras, [colour], generator)
    return Images.joined(parts)[torch.tensor([*chain(*alike.values())]).argsort()]


def shade_images(
    name: str, cameras: Cameras, colours: Sequence[Tensor], generator: torch.Generator
) -> list[Images]:
    """Trace an object once, and shade labelled images of it in other light for each of `colours` ``[n]``."""
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


def cached_images(config: DataConfig, cache: Path) -> Images:
    """Call [`render_images`][] through a cache folder; another world or configuration is another file."""
    world = [VERSION, RESOLUTION, SUPERSAMPLING, OBJECTS, COLOURS, MATERIALS]
    name = hashlib.sha256(json.dumps([asdict(config), *world]).encode()).hexdigest()[:16]
    path = cache / f"images-{name}.safetensors"
    if not path.is_file():
        save_tensors(vars(render_images(config)), path)
    return Images(**load_file(path))
