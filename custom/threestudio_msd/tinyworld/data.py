"""The training images of the tiny world, rendered once and kept in a cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.progress import track
from safetensors import safe_open
from torch import Tensor

from ..files import save_tensors
from .render import sample_cameras, sample_lighting, shade, trace
from .shapes import MATERIALS
from .world import COLOURS, HELD_OUT, OBJECTS, VIEWS

_CHUNK = 16  # cameras traced at once: keeps the rays in the processor's cache


@dataclass(frozen=True)
class Images:
    """Labelled images: `rgb` uint8 ``[n, 3, 64, 64]``; `object`, `colour`, `view` are indices ``[n]``
    (int64).
    """

    rgb: Tensor
    object: Tensor
    colour: Tensor
    view: Tensor

    def __len__(self) -> int:
        return len(self.rgb)

    def __getitem__(self, index: slice | Tensor) -> Images:
        return Images(self.rgb[index], self.object[index], self.colour[index], self.view[index])

    @property
    def float(self) -> Tensor:
        """The images in [0, 1]."""
        return self.rgb.float() / 255

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
    """Renders labelled images of every object from `config.views` sides; the colours take turns, so all come
    equally often.

    The order is shuffled, so any slice is a fair sample.
    """
    albedo = torch.tensor(list(COLOURS.values()))
    generator = torch.Generator().manual_seed(config.seed)
    chunks: Iterable[tuple[str, int]] = [
        (name, min(_CHUNK, config.views - start))
        for name in OBJECTS
        for start in range(0, config.views, _CHUNK)
    ]
    rgb, labels = [], []
    for turn, (name, n) in enumerate(track(chunks, "rendering", disable=not progress)):
        cameras = sample_cameras(n, generator)
        geometry = trace(name, cameras)
        view = torch.tensor([VIEWS.index(v) for v in cameras.views])
        for k in range(config.colours_per_view):
            colour = (torch.arange(n) + turn + k * len(COLOURS) // config.colours_per_view) % len(COLOURS)
            images = shade(geometry, albedo[colour], sample_lighting(cameras, generator))
            rgb.append((images.permute(0, 3, 1, 2) * 255).round().byte())
            labels.append(torch.stack((torch.full((n,), OBJECTS.index(name)), colour, view), -1))
    order = torch.randperm(sum(map(len, rgb)), generator=generator)
    return Images(torch.cat(rgb)[order].contiguous(), *torch.cat(labels)[order].unbind(-1))


def cached_images(config: DataConfig, cache: Path, progress: bool = True) -> Images:
    """[`render_images`][] through a cache folder; a changed world or configuration is a different file."""
    world = json.dumps([asdict(config), OBJECTS, COLOURS, MATERIALS]).encode()
    sources = b"".join(
        (Path(__file__).parent / name).read_bytes() for name in ("shapes.py", "render.py", "data.py")
    )
    path = cache / f"images-{hashlib.sha256(world + sources).hexdigest()[:16]}.safetensors"
    if not path.is_file():
        images = render_images(config, progress)
        tensors = {k: v.contiguous() for k, v in vars(images).items()}
        save_tensors(tensors, path)
    with safe_open(path, "pt") as file:
        return Images(**{key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118 (not a mapping)
