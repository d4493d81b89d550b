"""Textures: a mesh laid flat by xatlas, and a function of space written into every
pixel of it.
"""

from collections.abc import Callable
from typing import Any

import torch
from threestudio.models.mesh import Mesh
from threestudio.utils.config import ConfigError
from torch import Tensor


def unwrap(mesh: Mesh, chart_options: dict[str, Any], pack_options: dict[str, Any]) -> Mesh:
    """The mesh with its seams cut, its vertices' places in the unit square as
    `uv [V, 2]`.

    Raises:
        ConfigError: xatlas is not installed, or has no such option.
    """
    try:
        import xatlas
    except ImportError as error:
        raise ConfigError(
            "system.exporter.save_uv: a texture needs xatlas: pip install xatlas; "
            "with save_uv false the vertices have colours"
        ) from error
    atlas = xatlas.Atlas()
    atlas.add_mesh(mesh.v_pos.cpu().numpy(), mesh.t_pos_idx.cpu().numpy())
    charts = _with_options(xatlas.ChartOptions(), chart_options, "xatlas_chart_options")
    packing = _with_options(xatlas.PackOptions(), pack_options, "xatlas_pack_options")
    atlas.generate(chart_options=charts, pack_options=packing)
    origin, faces, uv = atlas[0]
    origin = torch.from_numpy(origin.astype("int64"))
    cut = Mesh(mesh.v_pos[origin], torch.from_numpy(faces.astype("int64")).to(mesh.t_pos_idx))
    cut.uv = torch.from_numpy(uv).to(mesh.v_pos)
    cut.smooth_normals = mesh.v_nrm[origin]
    return cut


def _with_options(made: Any, options: dict[str, Any], block: str) -> Any:
    for name, value in options.items():
        if not hasattr(made, name):
            raise ConfigError(f"system.exporter.{block}.{name}: xatlas has no such option")
        setattr(made, name, value)
    return made


def paint(mesh: Mesh, size: int, colour: Callable[[Tensor], Tensor]) -> Tensor:
    """A texture for an unwrapped mesh.

    Args:
        mesh: See `unwrap`.
        size: Pixels along a side.
        colour: Points `[N, 3]` of the surface to colours `[N, 3]`.

    Returns:
        `[size, size, 3]`, its first row at the top; between the charts the nearest
        one's colours.
    """
    from scipy import ndimage  # takes .2 s to import; only textures need it

    pixel, face, weights = covered(mesh.uv.cpu(), mesh.t_pos_idx.cpu(), size)
    corners = mesh.v_pos.cpu()[mesh.t_pos_idx.cpu()[face]]  # [N, 3, 3]
    points = (weights[..., None] * corners).sum(1)
    image, known = torch.zeros(size * size, 3), torch.zeros(size * size, dtype=torch.bool)
    image[pixel], known[pixel] = colour(points.to(mesh.v_pos)).float().cpu(), True
    nearest = ndimage.distance_transform_edt(
        ~known.view(size, size).numpy(), return_distances=False, return_indices=True
    )
    rows, columns = torch.from_numpy(nearest).long()
    return image.view(size, size, 3)[rows, columns]


def covered(uv: Tensor, faces: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Find the pixels whose middles are covered by triangles.

    Args:
        uv: Places of vertices, from the lower left, `[V, 2]` in [0, 1].
        faces: `[F, 3]`.
        size: Pixels along a side.

    Returns:
        Of each of N covered pixels: its number, row by row from the top, its triangle,
        and where in it, barycentric, `[N, 3]`.
    """
    corners = torch.stack([uv[:, 0], 1 - uv[:, 1]], -1)[faces] * size - 0.5  # in pixels' middles, [F, 3, 2]
    low, high = corners.amin(1).ceil().long(), corners.amax(1).floor().long()
    extent = (high - low + 1).amax(-1)
    found = []
    for side in sorted({1 << (int(n) - 1).bit_length() for n in extent.unique() if n > 0}):
        of_size = ((extent > side // 2) & (extent <= side)).nonzero()[:, 0]
        steps = torch.cartesian_prod(torch.arange(side), torch.arange(side))
        for some in of_size.split(max(1, 2**20 // side**2)):  # a grid of pixels around each triangle
            places = low[some, None] + steps
            weights = barycentric(places.float(), corners[some])
            inside = (weights >= -1e-6).all(-1) & (places >= 0).all(-1) & (places < size).all(-1)
            x, y = places[inside].unbind(-1)
            found.append((y * size + x, some[:, None].expand_as(inside)[inside], weights[inside]))
    return tuple(torch.cat(part) for part in zip(*found, strict=True))


def barycentric(points: Tensor, corners: Tensor) -> Tensor:
    """Locate points `[F, N, 2]` in triangles `[F, 3, 2]`: weights `[F, N, 3]`, -1
    without area.
    """
    a, b, c = corners[:, None].unbind(2)

    def area(p: Tensor, q: Tensor, r: Tensor) -> Tensor:
        (u, v), (s, t) = (q - p).unbind(-1), (r - p).unbind(-1)
        return u * t - v * s

    whole = area(a, b, c)
    parts = torch.stack([area(points, b, c), area(a, points, c), area(a, b, points)], -1)
    return torch.where(whole[..., None].abs() > 1e-12, parts / whole[..., None], -1.0)
