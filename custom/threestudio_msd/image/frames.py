"""The path of an optimisation: frames kept on disk along the way, and one picture that shows them."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from ..files import save_text, write_whole
from ..style import FAINT, INK, fitted, new_figure, write_text


@dataclass(frozen=True)
class Frame:
    """All particles at one step.

    Attributes:
        step: Optimiser steps done.
        bandwidth: Lambda at that step; None where the guidance has none.
    """

    step: int
    bandwidth: float | None = None


def grid_columns(count: int) -> int:
    """Columns of a grid of `count` pictures: about twice as wide as high, without gaps where possible."""
    widest = math.ceil(math.sqrt(2 * count))
    return next((columns for columns in range(widest, math.isqrt(count), -1) if count % columns == 0), widest)


def tile(images: Tensor) -> Tensor:
    """Pictures `[P, H, W, 3]` in rows of `grid_columns`: `[rows * H, columns * W, 3]`, gaps white."""
    columns = grid_columns(len(images))
    gap = images.new_ones(-len(images) % columns, *images.shape[1:])
    rows = torch.cat([images, gap]).unflatten(0, (-1, columns))
    return rows.transpose(1, 2).flatten(2, 3).flatten(0, 1)


def untile(picture: np.ndarray, count: int) -> np.ndarray:
    """The pictures that `tile` put together: `[rows * H, columns * W, 3]` to `[count, H, W, 3]`."""
    columns = grid_columns(count)
    rows = -(-count // columns)
    height, width = picture.shape[0] // rows, picture.shape[1] // columns
    tiles = picture.reshape(rows, height, columns, width, 3).transpose(0, 2, 1, 3, 4)
    return tiles.reshape(-1, height, width, 3)[:count]


def enlarged(images: Tensor, least: int) -> Tensor:
    """Images `[P, H, W, 3]` with every pixel repeated until they are at least about `least` wide."""
    factor = max(1, round(least / images.shape[2]))
    return images.repeat_interleave(factor, 1).repeat_interleave(factor, 2)


class FrameList:
    """The list of a run's frames, in a file that is whole at any time: a resumed run goes on with it.

    Args:
        path: The JSON file; its folder exists.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def read(self) -> list[Frame]:
        """The frames so far, by step; none where there is no file yet."""
        if not self.path.is_file():
            return []
        return [Frame(**frame) for frame in json.loads(self.path.read_text(encoding="utf-8"))]

    def add(self, frame: Frame) -> None:
        """Add a frame; it replaces all that are at its step or after it, which a resumed run passes again."""
        frames = [kept for kept in self.read() if kept.step < frame.step] + [frame]
        save_text(json.dumps([asdict(kept) for kept in frames]), self.path)


def read_tiles(path: str, count: int) -> np.ndarray:
    """The `count` particles of a saved frame, `[count, H, W, 3]`, 8 bits."""
    return untile(np.asarray(Image.open(path).convert("RGB")), count)


def spread(frames: list[Frame], most: int) -> list[Frame]:
    """At most `most` frames, the first and the last among them, as evenly as they come."""
    if len(frames) <= most:
        return frames
    return [frames[round(i * (len(frames) - 1) / (most - 1))] for i in range(most)]


def draw_path(path: str, frames: list[Frame], tiles: list[np.ndarray], title: str) -> None:
    """Draw one row a particle and one column a frame: the start, the path and the result.

    Args:
        path: The PNG to write; it appears whole or not at all.
        frames: Columns.
        tiles: What each frame shows, `[P, H, W, 3]`.
        title: Above it all, the prompt.
    """
    count, columns = len(tiles[0]), len(frames)
    side, left, top, gap = 1.15, 0.45, 1.25, 0.06  # inches
    apart = 0.22  # between the path and the result
    width = left + columns * (side + gap) + apart + 0.2
    height = top + count * (side + gap) + 0.15
    figure = new_figure(width, height)
    text, size = fitted(title, width - left - 0.2, 15)
    write_text(figure, left / width, 1 - 0.3 / height, text, size=size, weight="bold", color=INK, va="center")
    for column, (frame, images) in enumerate(zip(frames, tiles, strict=True)):
        last = column == columns - 1
        x = left + column * (side + gap) + apart * last
        heading = "result" if last else "start" if column == 0 and frame.step == 0 else ""
        _head(figure, (x + side / 2) / width, (width, height), heading, frame)
        for row, image in enumerate(images):
            y = height - top - (row + 1) * (side + gap) + gap
            axes = figure.add_axes((x / width, y / height, side / width, side / height))
            axes.imshow(image, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(color=INK, linewidth=1.4 if last else 0.4)
            if column == 0:
                axes.set_ylabel(str(row), rotation=0, labelpad=10, va="center", size=9, color=FAINT)
    write_whole(Path(path), partial(figure.savefig, dpi=120))


def _head(figure: Figure, x: float, size: tuple[float, float], heading: str, frame: Frame) -> None:
    height = size[1]
    figure.text(x, 1 - 0.72 / height, heading, size=11, weight="bold", color=INK, ha="center", va="center")
    bandwidth = "" if frame.bandwidth is None else f"\n$\\lambda$ = {frame.bandwidth:.3g}"
    label = f"step {frame.step}{bandwidth}"
    figure.text(x, 1 - 0.84 / height, label, size=9, color=FAINT, ha="center", va="top", linespacing=1.25)
