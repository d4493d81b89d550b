"""Arrays as 8-bit RGB pictures: colours, grey-scale maps, and grids of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw

RGB_DEFAULTS = {"data_format": "HWC", "data_range": (0, 1)}
GRAYSCALE_DEFAULTS = {"data_range": None, "cmap": "jet"}


def _unit_range(img: np.ndarray, data_range: Sequence[float]) -> np.ndarray:
    low, high = data_range
    return (img.clip(low, high) - low) / (high - low)


def _to_uint8(unit: np.ndarray) -> np.ndarray:
    return (unit * 255.0).astype(np.uint8)  # truncated, as threestudio does


def _channels_last(img: np.ndarray, data_format: str) -> np.ndarray:
    if data_format not in ("CHW", "HWC"):
        raise ValueError(f"unknown data_format '{data_format}': only CHW and HWC")
    return img.transpose(1, 2, 0) if data_format == "CHW" else img


def rgb_picture(img: np.ndarray, data_format: str, data_range: Sequence[float]) -> np.ndarray:
    """Colours; more than three channels become pictures side by side, missing ones are black."""
    img = _channels_last(img, data_format)
    if img.dtype != np.uint8:
        img = _to_uint8(_unit_range(img, data_range))
    img = np.pad(img, [(0, 0), (0, 0), (0, -img.shape[-1] % 3)])
    return np.concatenate(np.split(img, img.shape[-1] // 3, axis=-1), axis=1)


def grayscale_picture(img: np.ndarray, data_range: Sequence[float] | None, cmap: str | None) -> np.ndarray:
    """One value per pixel, through a colour map: None (grey), "jet", "magma" (reversed) or "spectral"."""
    unit = _unit_range(
        img, (img.min(), max(img.max(), img.min() + 1e-12)) if data_range is None else data_range
    )
    if cmap is None:
        return np.repeat(_to_uint8(unit)[..., None], 3, axis=-1)
    if cmap == "jet":
        return _jet(unit)
    names = {"magma": "magma_r", "spectral": "Spectral"}
    if cmap not in names:
        raise ValueError(f"unknown cmap '{cmap}' for grayscale: only None, jet, {', '.join(names)}")
    from matplotlib import colormaps  # registration needs no matplotlib

    return _to_uint8(colormaps[names[cmap]](unit)[..., :3])


def _jet(unit: np.ndarray) -> np.ndarray:
    """MATLAB's and OpenCV's jet in 256 colours; matplotlib's has other corners."""
    level = np.floor(unit * 255) / 255
    channels = [1.5 - np.abs(4 * level - centre) for centre in (3, 2, 1)]
    return np.round(255 * np.stack(channels, axis=-1).clip(0, 1)).astype(np.uint8)


def resize(img: np.ndarray, height: int, width: int) -> np.ndarray:
    if img.shape[:2] == (height, width):
        return img
    pixels = torch.from_numpy(img).permute(2, 0, 1)[None].float()
    scaled = F.interpolate(pixels, (height, width), mode="bilinear", align_corners=False)
    return scaled[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy()


def grid_size(pictures: list[np.ndarray], align: str | int | tuple[int, int]) -> tuple[int, int]:
    """Height and width that every picture of a row gets: "max", "min", a number or (height, width)."""
    if align in ("max", "min"):
        pick = max if align == "max" else min
        return pick(p.shape[0] for p in pictures), pick(p.shape[1] for p in pictures)
    if isinstance(align, int):
        return align, align
    if isinstance(align, tuple) and len(align) == 2 and all(isinstance(n, int) for n in align):
        return align
    raise ValueError(f"unknown align {align!r}: only max, min, int or (int, int)")


def picture(item: dict[str, Any]) -> np.ndarray:
    """One item of a grid: `{"type": "rgb" | "grayscale", "img": array, "kwargs": {...}}`."""
    kinds = {
        "rgb": (rgb_picture, RGB_DEFAULTS),
        "grayscale": (grayscale_picture, GRAYSCALE_DEFAULTS),
    }
    if item["type"] not in kinds:
        raise ValueError(f"unknown image type '{item['type']}': only {', '.join(kinds)}")
    draw, defaults = kinds[item["type"]]
    return draw(item["img"], **{**defaults, **item.get("kwargs", {})})


def grid_picture(items: list, align: str | int | tuple[int, int]) -> np.ndarray:
    """A row of pictures, or rows of them when `items` is a list of lists."""
    if isinstance(items[0], list):
        return np.concatenate([grid_picture(row, align) for row in items], axis=0)
    pictures = [picture(item) for item in items]
    height, width = grid_size(pictures, align)
    return np.concatenate([resize(p, height, width) for p in pictures], axis=1)


def write_texts(img: np.ndarray, texts: Sequence[Any]) -> np.ndarray:
    """Texts down the left edge, one per row of a grid, black with a white outline."""
    canvas = Image.fromarray(img)
    draw = ImageDraw.Draw(canvas)
    for row, text in enumerate(texts):
        x, y = 1, canvas.height // len(texts) * row
        for dx in (1, -1):
            for dy in (1, -1):
                draw.text((x + dx, y + dy), f"{text}", (255, 255, 255))
        draw.text((x, y), f"{text}", (0, 0, 0))
    return np.asarray(canvas)
