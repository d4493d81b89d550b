"""The path of an optimisation: frames kept on disk along the way, and one picture that
shows them.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ..files import save_text, write_whole
from .text import fit_title, typeface_for

INK, FAINT = "#1d2733", "#6b7684"  # of the title and the frames; of all other text
SIDE, GAP = 138, 7  # pixels of a picture, and between two
LEFT, TOP, APART = 54, 150, 26  # pixels before and above the pictures, and before the last column


@dataclass(frozen=True)
class Frame:
    """A snapshot of all particles at one step of the optimisation; its picture is in
    `progress/STEP.png`.

    Attributes:
        step: Optimiser steps done.
        bandwidth: lambda at that step; None if the guidance has none.
    """

    step: int
    bandwidth: float | None = None


def grid_columns(count: int) -> int:
    """Choose the columns of a grid of `count` pictures: about twice as wide as high,
    without gaps if possible.
    """
    widest = math.ceil(math.sqrt(2 * count))
    return next((columns for columns in range(widest, math.isqrt(count), -1) if count % columns == 0), widest)


def tile(images: Tensor) -> Tensor:
    """Arrange pictures `[P, H, W, 3]` in a grid: `[rows * H, columns * W, 3]`, gaps
    white.
    """
    columns = grid_columns(len(images))
    gap = images.new_ones(-len(images) % columns, *images.shape[1:])
    rows = torch.cat([images, gap]).unflatten(0, (-1, columns))
    return rows.transpose(1, 2).flatten(2, 3).flatten(0, 1)


def untile(picture: np.ndarray, count: int) -> np.ndarray:
    """Cut a picture that `tile` made into its pictures again: `[rows * H, columns * W,
    3]` to `[count, H, W, 3]`.
    """
    columns = grid_columns(count)
    rows = -(-count // columns)
    height, width = picture.shape[0] // rows, picture.shape[1] // columns
    tiles = picture.reshape(rows, height, columns, width, 3).transpose(0, 2, 1, 3, 4)
    return tiles.reshape(-1, height, width, 3)[:count]


def enlarged(images: Tensor, least: int) -> Tensor:
    """Repeat every pixel of images `[P, H, W, 3]` a whole number of times, so that they
    are about `least` pixels wide.

    Images wider than that are returned unchanged.
    """
    factor = max(1, round(least / images.shape[2]))
    return images.repeat_interleave(factor, 1).repeat_interleave(factor, 2)


class FrameList:
    """The list of a run's frames in a JSON file, which is whole at any time; a resumed
    run continues it.

    Args:
        path: The file.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def read(self) -> list[Frame]:
        """Return the frames saved so far, by step; an empty list if there is no file
        yet.
        """
        if not self.path.is_file():
            return []
        return [Frame(**frame) for frame in json.loads(self.path.read_text(encoding="utf-8"))]

    def add(self, frame: Frame) -> None:
        """Add a frame to the file, and remove those at its step or later, which a
        resumed run makes again.

        Raises:
            OSError: The file cannot be written.
        """
        frames = [kept for kept in self.read() if kept.step < frame.step] + [frame]
        save_text(json.dumps([asdict(kept) for kept in frames]), self.path)


def read_tiles(path: str, count: int) -> np.ndarray:
    """Read the `count` particles of a saved frame, `[count, H, W, 3]`, 8 bits.

    Raises:
        OSError: The file is missing or is no image.
    """
    return untile(np.asarray(Image.open(path).convert("RGB")), count)


def spread(frames: list[Frame], most: int) -> list[Frame]:
    """Select at most `most` frames, evenly spaced, the first and the last among them."""
    if len(frames) <= most:
        return frames
    return [frames[round(i * (len(frames) - 1) / (most - 1))] for i in range(most)]


def draw_path(path: str, frames: list[Frame], tiles: list[np.ndarray], title: str) -> None:
    """Draw a picture of an optimisation: a row for each particle, a column for each
    frame, the last being the result.

    Args:
        path: The PNG to write; it appears whole or not at all.
        frames: The columns' frames.
        tiles: The pictures of each frame, `[P, H, W, 3]`, 8 bits.
        title: Written above: the prompt.

    Raises:
        OSError: The file cannot be written.
    """
    count, columns = len(tiles[0]), len(frames)
    pitch = SIDE + GAP
    picture = Image.new("RGB", (LEFT + columns * pitch + APART + 24, TOP + count * pitch + 18), "white")
    draw = ImageDraw.Draw(picture)
    lines, face = fit_title(title, picture.width - LEFT - 24, 25)
    for i, line in enumerate(lines.split("\n")):
        face.draw(draw, (LEFT, 36 + 22 * (i - lines.count("\n") / 2)), line, INK)
    for row in range(count):
        _label(draw, LEFT - 18, TOP + row * pitch + SIDE / 2, str(row))
    for column, (frame, images) in enumerate(zip(frames, tiles, strict=True)):
        last = column == columns - 1
        x = LEFT + column * pitch + APART * last
        heading = "result" if last else "start" if column == 0 and frame.step == 0 else ""
        _head(draw, x + SIDE / 2, heading, frame)
        for row, image in enumerate(images):
            y = TOP + row * pitch
            picture.paste(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.NEAREST), (x, y))
            draw.rectangle((x, y, x + SIDE - 1, y + SIDE - 1), outline=INK, width=2 if last else 1)
    write_whole(Path(path), picture.save)


def _head(draw: ImageDraw.ImageDraw, x: float, heading: str, frame: Frame) -> None:
    _label(draw, x, 86, heading, "bold")
    _label(draw, x, 110, f"step {frame.step}")
    if frame.bandwidth is not None:
        _label(draw, x, 130, f"λ = {frame.bandwidth:.3g}")


def _label(draw: ImageDraw.ImageDraw, x: float, y: float, text: str, style: str = "regular") -> None:
    face = typeface_for(text, 18 if style == "bold" else 15, style)
    face.draw(draw, (x - face.width(text) / 2, y), text, INK if style == "bold" else FAINT)
