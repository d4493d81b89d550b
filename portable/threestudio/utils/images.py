"""Arrays as 8-bit RGB pictures."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def _eight_bits(img: np.ndarray, data_range: Sequence[float]) -> np.ndarray:
    low, high = data_range
    return ((img.clip(low, high) - low) / (high - low) * 255.0).astype(np.uint8)  # truncated, as threestudio


def rgb_picture(
    img: np.ndarray, data_format: str = "HWC", data_range: Sequence[float] = (0, 1)
) -> np.ndarray:
    """Draw colours; more than three channels become pictures side by side, missing ones
    are black.

    Args:
        img: `[H, W, C]`, or `[C, H, W]` if `data_format` is "CHW".
        data_format: "HWC" or "CHW".
        data_range: Values that become black and white; bytes stay as they are.

    Raises:
        ValueError: The format is unknown.
    """
    if data_format not in ("CHW", "HWC"):
        raise ValueError(f"unknown data_format '{data_format}': only CHW and HWC")
    img = img.transpose(1, 2, 0) if data_format == "CHW" else img
    img = img if img.dtype == np.uint8 else _eight_bits(img, data_range)
    img = np.pad(img, [(0, 0), (0, 0), (0, -img.shape[-1] % 3)])
    return np.concatenate(np.split(img, img.shape[-1] // 3, axis=-1), axis=1)


def grayscale_picture(
    img: np.ndarray, data_range: Sequence[float] | None = None, cmap: None = None
) -> np.ndarray:
    """Draw one value per pixel in grey.

    Args:
        img: `[H, W]`.
        data_range: Values that become black and white; None: the least and the greatest
            that occur.
        cmap: None; threestudio's colour maps are not supported.

    Raises:
        ValueError: A colour map is given.
    """
    if cmap is not None:
        raise ValueError(f"unknown cmap '{cmap}' for grayscale: only None on the portable host")
    limits = (img.min(), max(img.max(), img.min() + 1e-12)) if data_range is None else data_range
    return np.repeat(_eight_bits(img, limits)[..., None], 3, axis=-1)


PICTURES = {"rgb": rgb_picture, "grayscale": grayscale_picture}


def row_picture(items: Sequence[dict[str, Any]]) -> np.ndarray:
    """Draw pictures of one height side by side; see `SaverMixin.save_image_grid`.

    Raises:
        ValueError: A type is unknown.
    """
    for item in items:
        if item["type"] not in PICTURES:
            raise ValueError(f"unknown image type '{item['type']}': only {', '.join(PICTURES)}")
    drawn = [PICTURES[item["type"]](item["img"], **item.get("kwargs", {})) for item in items]
    return np.concatenate(drawn, axis=1)
