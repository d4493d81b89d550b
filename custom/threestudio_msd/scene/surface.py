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
        vertices: `[V, 3]`.
        faces: `[F, 3]`, more than `count`.
        count: Faces to keep.

    Returns:
        The mesh, and how far `PROBES` of the former vertices, or all if these are
        fewer, are from it.
    """
    shape = trimesh.Trimesh(*fast_simplification.simplify(vertices, faces, target_count=count), process=False)
    return shape, distances(vertices[np.linspace(0, len(vertices) - 1, PROBES).astype(int)], shape)


def distances(points: np.ndarray, shape: trimesh.Trimesh) -> np.ndarray:
    """How far points `[N, 3]` are from a mesh, `[N]`: from the triangles of the samples
    that are nearest.
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
    """Lay a surface flat.

    Args:
        vertices: `[V, 3]`.
        faces: `[F, 3]`.
        chart: Options of xatlas for charts, by name.
        pack: Its options for packing them.

    Returns:
        The former vertex of each vertex, as seams are cut, `[V']`; faces `[F, 3]`; and
        places in the unit square, from the lower left, `[V', 2]`.

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
    uv: np.ndarray, faces: np.ndarray, vertices: np.ndarray, size: int, colour: Callable[[Tensor], Tensor]
) -> Tensor:
    """Fill a texture with the colours of the points that its texels show.

    Args:
        uv: Places of vertices, from the lower left, `[V, 2]` in [0, 1].
        faces: `[F, 3]`.
        vertices: `[V, 3]`.
        size: Texels along a side.
        colour: Points `[N, 3]` of the surface to colours `[N, 3]`.

    Returns:
        `[size, size, 3]`, its first row at the top; between charts the colours near
        them.
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
        image: Colours, 0 where they are unknown, and 1 where they are known: `[1, C +
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
    """Find the pixels whose middles are covered by triangles, or are less than `FRINGE`
    pixels beside them.

    Args:
        uv: Places of vertices, from the lower left, `[V, 2]` in [0, 1].
        faces: `[F, 3]`.
        size: Pixels along a side.

    Returns:
        Of each of N such pixels: its number, row by row from the top, its triangle, and
        where in it, barycentric, `[N, 3]`; of a pixel beside all triangles a point of
        an edge near it.
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
        Weights `[F, N, 3]`, and how far a point is inside of the nearest edge's line,
        `[F, N]`, negative outside; minus infinity where a triangle has no area.
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
