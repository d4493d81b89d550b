"""Pictures of coloured meshes on the CPU, to hold an exported mesh beside the field that it was made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import trimesh
from threestudio_msd.errors import UserError, first_line
from torch import Tensor

from ..tinyworld.render import Cameras
from .views import project

PER_PIXEL = 24  # samples of the surface for each pixel of a picture: holes are then rarer than one in 10^6
SUPERSAMPLING = 2
SEED = 0


def load_mesh(path: Path) -> trimesh.Trimesh:
    """One mesh with the colours of its vertices, from OBJ or GLB.

    Raises:
        UserError: The file cannot be read, or holds no triangles.
    """
    try:
        mesh = trimesh.load_mesh(path, process=False)
        mesh = mesh.to_mesh() if isinstance(mesh, trimesh.Scene) else mesh
    except (OSError, ValueError, IndexError) as error:
        raise UserError(f"{path}: no mesh can be read: {first_line(error)}") from error
    if not len(getattr(mesh, "faces", ())):
        raise UserError(f"{path}: the mesh has no triangles")
    return mesh


def surface_samples(mesh: trimesh.Trimesh, count: int) -> tuple[Tensor, Tensor]:
    """Points evenly on a mesh, and its colours there in [0, 1], two `[count, 3]`."""
    points, face = trimesh.sample.sample_surface(mesh, count, seed=SEED)
    weights = trimesh.triangles.points_to_barycentric(mesh.triangles[face], points)[..., None]
    texture = texture_of(mesh)
    if texture is None:
        colours = (weights * mesh.visual.vertex_colors[mesh.faces[face], :3] / 255).sum(1)
    else:
        colours = looked_up(texture, (weights * mesh.visual.uv[mesh.faces[face]]).sum(1))
    found = torch.from_numpy(points), torch.as_tensor(colours)
    return found[0].float(), found[1].float()


def texture_of(mesh: trimesh.Trimesh) -> Tensor | None:
    """A mesh's texture in [0, 1], `[H, W, 3]`; None where it has none."""
    material = getattr(mesh.visual, "material", None)
    image = getattr(material, "image", None) or getattr(material, "baseColorTexture", None)
    if image is None or getattr(mesh.visual, "uv", None) is None:
        return None
    return torch.from_numpy(np.array(image.convert("RGB"))).float() / 255


def looked_up(texture: Tensor, uv: np.ndarray) -> Tensor:
    """A texture's colours at `[N, 2]`, from the lower left, between its pixels' middles, `[N, 3]`."""
    where = torch.from_numpy(uv).float() * torch.tensor([2.0, -2.0]) + torch.tensor([-1.0, 1.0])
    image = texture.permute(2, 0, 1)[None]
    found = F.grid_sample(image, where[None, None], padding_mode="border", align_corners=False)
    return found[0, :, 0].T


def render_mesh(mesh: trimesh.Trimesh, cameras: Cameras, size: int, background: Tensor) -> Tensor:
    """Draw a mesh in its own colours, without light, by dense samples of its surface.

    Args:
        mesh: With a texture, or the colours of its vertices.
        cameras: n of them.
        size: Pixels along a side.
        background: In [0, 1], `[3]`.

    Returns:
        `[n, size, size, 3]`.
    """
    samples = surface_samples(mesh, PER_PIXEL * (size * SUPERSAMPLING) ** 2)
    views = views_of(*samples, cameras, size * SUPERSAMPLING, background)
    return F.avg_pool2d(views.permute(0, 3, 1, 2), SUPERSAMPLING).permute(0, 2, 3, 1)


def views_of(points: Tensor, colours: Tensor, cameras: Cameras, size: int, background: Tensor) -> Tensor:
    """Draw coloured points: the nearest one's colour in every pixel.

    Args:
        points: `[N, 3]`.
        colours: `[N, 3]`.
        cameras: n of them.
        size: Pixels along a side.
        background: Where no point is, `[3]`.

    Returns:
        `[n, size, size, 3]`.
    """
    views = []
    for i in range(len(cameras)):
        (plane,), (depth,) = project(cameras[i : i + 1], points)
        seen = (depth > 0) & (plane >= 0).all(-1) & (plane < 1).all(-1)
        x, y = (plane[seen] * size).long().unbind(-1)
        pixel, depth = y * size + x, depth[seen]
        nearest = torch.full((size * size,), torch.inf).scatter_reduce(0, pixel, depth, "amin")
        front = depth == nearest[pixel]
        image = background.float().repeat(size * size, 1)
        image[pixel[front]] = colours[seen][front]
        views.append(image.view(size, size, 3))
    return torch.stack(views)


def census(mesh: trimesh.Trimesh) -> dict[str, float]:
    """Count a mesh's parts: `watertight` (1 or 0), `components`, `faces`."""
    welded = mesh.copy()
    welded.merge_vertices(merge_tex=True, merge_norm=True)
    return {
        "watertight": float(welded.is_watertight),
        "components": float(welded.body_count),
        "faces": float(len(welded.faces)),
    }
