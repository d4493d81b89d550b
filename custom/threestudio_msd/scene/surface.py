"""Surfaces made ready for files: simplified, unwrapped, and a texture baked from a
function of space.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import fast_simplification
import numpy as np
import torch
import torch.nn.functional as F
import trimesh
import xatlas
from torch import Tensor
from trimesh.sample import sample_surface
from trimesh.triangles import closest_point

from ..errors import UserError

PADDING = 4  # texels between the charts of a texture
PROBES, SAMPLES, NEAREST = 1000, 20_000, 16  # of a surface that is compared with its simplified one
FRINGE = 1.5  # texels around a chart that readers mix with its own


def simplified(vertices: np.ndarray, faces: np.ndarray, count: int) -> tuple[trimesh.Trimesh, np.ndarray]:
    """Simplify a surface by quadric error (Garland and Heckbert 1997).

    Args:
        vertices: Points, `[V, 3]`.
        faces: Triangles of vertices' numbers, `[F, 3]`, more than `count`.
        count: Faces to keep.

    Returns:
        The mesh, and the distances from it of 1000 former vertices, some of them
        repeated if there are fewer, `[1000]`.
    """
    shape = trimesh.Trimesh(*fast_simplification.simplify(vertices, faces, target_count=count), process=False)
    return shape, distances(vertices[np.linspace(0, len(vertices) - 1, PROBES).astype(int)], shape)


def distances(points: np.ndarray, shape: trimesh.Trimesh) -> np.ndarray:
    """Estimate the distance of each point `[N, 3]` from a mesh, `[N]`: to the nearest
    of the triangles that random samples near it lie in.
    """
    samples, face = sample_surface(shape, SAMPLES, seed=0)
    apart = torch.cdist(torch.from_numpy(points).float(), torch.from_numpy(samples).float())
    triangles = shape.triangles[face[apart.topk(NEAREST, largest=False).indices]]  # [N, NEAREST, 3, 3]
    repeated = points.repeat(NEAREST, 0)
    found = np.linalg.norm(closest_point(triangles.reshape(-1, 3, 3), repeated) - repeated, axis=1)
    return found.reshape(-1, NEAREST).min(1)


def unwrapped(
    vertices: np.ndarray, faces: np.ndarray, chart: Mapping[str, Any], pack: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lay a surface flat, for a texture.

    Args:
        vertices: Points, `[V, 3]`.
        faces: Triangles of vertices' numbers, `[F, 3]`.
        chart: xatlas's options for charts, by name.
        pack: xatlas's options for packing them, by name.

    Returns:
        Number of the former vertex of each new vertex, `[V']`, as seams are cut;
        triangles of new vertices, `[F, 3]`; and their places in the unit square, from
        the lower left, `[V', 2]`.

    Raises:
        UserError: xatlas has no such option.
    """
    atlas = xatlas.Atlas()
    atlas.add_mesh(vertices, faces)
    charts = _with_options(xatlas.ChartOptions(), chart, "xatlas_chart_options")
    packing = _with_options(xatlas.PackOptions(), pack, "xatlas_pack_options")
    atlas.generate(chart_options=charts, pack_options=packing)
    return atlas[0]


def _with_options(made: Any, options: Mapping[str, Any], block: str) -> Any:
    for name, value in options.items():
        if not hasattr(made, name):
            raise UserError(f"system.exporter.{block}.{name}: xatlas has no such option")
        setattr(made, name, value)
    return made


def baked(
    uv: np.ndarray, faces: np.ndarray, vertices: np.ndarray, size: int, colour: Callable[[Tensor], Any]
) -> Tensor:
    """Fill a texture with the colours of the points that its texels show.

    Args:
        uv: Places of vertices in [0, 1]^2, from the lower left, `[V, 2]`.
        faces: Triangles of vertices' numbers, `[F, 3]`.
        vertices: Points, `[V, 3]`.
        size: Texels along a side.
        colour: Maps points of the surface, `[N, 3]`, to colours, `[N, 3]`.

    Returns:
        Colours, `[size, size, 3]`, the first row at the top; between charts the colours
        near them.
    """
    triangles = torch.from_numpy(faces.astype("int64"))
    texel, face, weights = covered(torch.from_numpy(uv), triangles, size)
    corners = torch.from_numpy(vertices).float()[triangles[face]]  # [N, 3, 3]
    image, known = torch.zeros(size * size, 3), torch.zeros(size * size, 1)
    image[texel], known[texel] = colour((weights[..., None] * corners).sum(1)).float().cpu(), 1.0
    both = torch.cat([image, known], -1).view(1, size, size, 4).permute(0, 3, 1, 2)
    return pulled_and_pushed(both)[0, :3].permute(1, 2, 0)


def pulled_and_pushed(image: Tensor) -> Tensor:
    """Fill unknown pixels with averages of known ones near them (Gortler et al. 1996).

    Args:
        image: Colours, 0 if unknown, and a last channel, 1 if known, else 0: `[1, C +
            1, H, W]`.

    Returns:
        The same with all pixels filled, if any was known.
    """
    size = image.shape[-2:]
    if max(size) == 1:
        return image
    half = F.avg_pool2d(image, 2, ceil_mode=True)
    half = pulled_and_pushed(half / half[:, -1:].clamp(min=1e-6))
    wide = F.interpolate(half, size=size, mode="bilinear", align_corners=False)
    return torch.where(image[:, -1:] > 0, image, wide)


def covered(uv: Tensor, faces: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Find the pixels whose centres are covered by triangles, or less than 1.5 pixels
    beside them.

    Args:
        uv: Places of vertices in [0, 1]^2, from the lower left, `[V, 2]`.
        faces: Triangles of vertices' numbers, `[F, 3]`.
        size: Pixels along a side.

    Returns:
        For each of N such pixels: its number, row by row from the top, `[N]`; its
        triangle, `[N]`; and its place in the triangle, barycentric, `[N, 3]`, for a
        pixel beside all triangles that of a point of an edge near it.
    """
    corners = torch.stack([uv[:, 0], 1 - uv[:, 1]], -1)[faces] * size - 0.5  # in pixels' middles, [F, 3, 2]
    low, high = (corners.amin(1) - FRINGE).ceil().long(), (corners.amax(1) + FRINGE).floor().long()
    extent = (high - low + 1).amax(-1)
    found = []
    for side in sorted({1 << (int(n) - 1).bit_length() for n in extent.unique() if n > 0}):
        of_size = ((extent > side // 2) & (extent <= side)).nonzero()[:, 0]
        steps = torch.cartesian_prod(torch.arange(side), torch.arange(side))
        for some in of_size.split(max(1, 2**20 // side**2)):  # a grid of pixels around each triangle
            places = low[some, None] + steps
            weights, depth = barycentric(places.float(), corners[some])
            near = (depth > -FRINGE) & (places >= 0).all(-1) & (places < size).all(-1)
            x, y = places[near].unbind(-1)
            found.append((y * size + x, some[:, None].expand_as(near)[near], weights[near], depth[near]))
    pixel, face, weights, depth = (torch.cat(part) for part in zip(*found, strict=True))
    deepest = torch.full((size * size,), -torch.inf).scatter_reduce(0, pixel, depth, "amax")
    best = depth == deepest[pixel]
    inner = weights[best].clamp(min=0)
    return pixel[best], face[best], inner / inner.sum(-1, keepdim=True)


def barycentric(points: Tensor, corners: Tensor) -> tuple[Tensor, Tensor]:
    """Locate points `[F, N, 2]` in triangles `[F, 3, 2]`.

    Returns:
        Barycentric weights, `[F, N, 3]`; and the distance inside of the nearest edge's
        line, `[F, N]`, negative outside, minus infinity for a triangle without area.
    """
    a, b, c = corners[:, None].unbind(2)

    def area(p: Tensor, q: Tensor, r: Tensor) -> Tensor:
        (u, v), (s, t) = (q - p).unbind(-1), (r - p).unbind(-1)
        return u * t - v * s

    whole = area(a, b, c)[..., None]
    parts = torch.stack([area(points, b, c), area(a, points, c), area(a, b, points)], -1)
    opposite = torch.stack([(c - b).norm(dim=-1), (a - c).norm(dim=-1), (b - a).norm(dim=-1)], -1)
    depth = (parts * whole.sign() / opposite).amin(-1)
    flat = whole.abs() < 1e-9
    return parts / torch.where(flat, 1.0, whole), torch.where(flat[..., 0], -torch.inf, depth)
