"""The shipped pictures: 64 x 64 drawings in the public domain, each with title, author and keywords."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..assets import ASSETS

SIDE, COLUMNS = 64, 24
SHEET, INDEX = ASSETS / "pictures.png", ASSETS / "pictures.json"


@dataclass(frozen=True)
class Picture:
    """A picture's description."""

    title: str
    author: str
    keywords: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The description as plain data."""
        return asdict(self)


def load_index() -> list[Picture]:
    """Read the descriptions, in the order of the pictures."""
    entries = json.loads(INDEX.read_text(encoding="utf-8"))
    return [Picture(entry["title"], entry["author"], tuple(entry["keywords"])) for entry in entries]


def load_pictures() -> Tensor:
    """Read the pictures: `[N, 3, 64, 64]` in [-1, 1]."""
    sheet = np.asarray(Image.open(SHEET).convert("RGB"))
    rows = sheet.shape[0] // SIDE
    tiles = sheet.reshape(rows, SIDE, COLUMNS, SIDE, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 3, SIDE, SIDE)
    return torch.from_numpy(tiles[: len(load_index())].copy()).float() / 127.5 - 1
