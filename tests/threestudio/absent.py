"""An extension for threestudio's `custom/`: what a machine without a GPU or weights lacks, in plain torch.

In place of nvdiffrast a rasteriser for small pictures, without a gradient at silhouettes; in place of the
perceptual loss, whose VGG is downloaded, a mean square; and pictures go to the CPU where threestudio sends
them to the GPU of its process. Beside these everything is threestudio's own.
"""

from __future__ import annotations

from typing import Any

import nvdiffrast.torch as nvdiffrast
import threestudio
import threestudio.data.image
import torch
from threestudio.utils.base import BaseObject
from torch import Tensor


class Context:
    """Nothing: there is no state."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass


def rasterize(
    context: Context, pos: Tensor, tri: Tensor, resolution: tuple[int, int], **kwargs: Any
) -> tuple[Tensor, Tensor]:
    """Of every pixel the nearest triangle: u, v, depth, 1 + its index, `[B, H, W, 4]`; and no derivatives."""
    if not len(tri):
        raise RuntimeError("the mesh is empty: a test that renders it would show nothing")
    pictures = [_rasterize_one(one, tri.long(), *map(int, resolution)) for one in pos]
    return torch.stack(pictures), pos.new_zeros(1)


def _rasterize_one(pos: Tensor, tri: Tensor, height: int, width: int) -> Tensor:
    points = (pos[:, :3] / pos[:, 3:].clamp(min=1e-6))[tri]  # [triangle, corner, xyz]
    y, x = ((torch.arange(size, device=pos.device) + 0.5) / size * 2 - 1 for size in (height, width))
    pixels = torch.stack(torch.meshgrid(y, x, indexing="ij"), -1).flip(-1).reshape(-1, 1, 2)
    a, b, c = points[..., :2].unbind(1)
    area = cross(b - a, c - a)
    area = torch.where(area.abs() < 1e-12, 1e-12, area)
    u, v = cross(c - b, pixels - b) / area, cross(a - c, pixels - c) / area  # of corners a and b
    inside = (u >= 0) & (v >= 0) & (u + v <= 1) & (pos[:, 3][tri] > 0).all(1)
    depth = u * points[:, 0, 2] + v * points[:, 1, 2] + (1 - u - v) * points[:, 2, 2]
    nearest = torch.where(inside, depth, torch.inf).min(1)
    hit, chosen = nearest.values < torch.inf, nearest.indices[:, None]
    chosen_values = [value.gather(1, chosen)[:, 0] for value in (u, v, depth)]
    values = torch.stack([*chosen_values, nearest.indices + 1.0], -1)
    return torch.where(hit[:, None], values, 0.0).view(height, width, 4)


def cross(a: Tensor, b: Tensor) -> Tensor:
    """Of vectors in the plane."""
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def interpolate(attr: Tensor, rast: Tensor, tri: Tensor, **kwargs: Any) -> tuple[Tensor, None]:
    """Corners' values `[1 or B, N, C]` inside their triangles, `[B, H, W, C]`; 0 beside them."""
    corners = tri.long()[(rast[..., 3].long() - 1).clamp(min=0)]  # [B, H, W, 3]
    u, v = rast[..., :1], rast[..., 1:2]
    rows = torch.arange(len(rast), device=rast.device).view(-1, 1, 1, 1)
    a, b, c = attr.expand(len(rast), -1, -1)[rows, corners].unbind(-2)
    return (u * a + v * b + (1 - u - v) * c) * (rast[..., 3:] > 0), None


def antialias(color: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """The picture as it is."""
    return color


class MeanSquare(BaseObject):
    """Stands for the perceptual loss."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Of each pair of pictures."""
        return (x - y).square().flatten(1).mean(1)


for replacement in (rasterize, interpolate, antialias):
    setattr(nvdiffrast, replacement.__name__, replacement)
nvdiffrast.RasterizeGLContext = nvdiffrast.RasterizeCudaContext = Context
threestudio.__modules__["perceptual-loss"] = MeanSquare
threestudio.data.image.get_rank = lambda: "cpu"  # which it takes for a device
