"""Pictures of coloured meshes on the CPU, to hold an exported mesh beside the field
that it was made from.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import trimesh
from PIL import Image
from threestudio_msd.errors import UserError
from threestudio_msd.scene.mesh_files import TURNS, Z_UP, linear_light, srgb
from torch import Tensor
from trimesh.visual import ColorVisuals, TextureVisuals
from trimesh.visual.material import SimpleMaterial

from ..tinyworld.render import Cameras
from .images import blamed
from .views import project

PER_PIXEL = 24  # samples of the surface for each pixel of a picture: holes are then rarer than one in 10^6
SUPERSAMPLING = 2
SEED = 0
LINEAR = (".glb", ".gltf")  # whose colours of vertices and materials are linear light


def load_mesh(path: Path, up: str | None = None) -> trimesh.Trimesh:
    """Load one mesh, z up, with its texture or the colours of its vertices, from GLB,
    OBJ or PLY.

    Args:
        path: The file.
        up: The axis that its reader takes for up, y or z; None: as readers do.

    Raises:
        UserError: The file, or one that it names, cannot be read; it has no surface; or
            some of its parts have a texture and others do not.
    """
    if path.suffix == ".obj":
        require_materials(path)
    with blamed(path, "no mesh can be read"):
        scene = trimesh.load_scene(path, process=False)
        parts = [part for part in scene.geometry.values() if hasattr(part, "faces")]
        textured = {bake_colours(part, linear=path.suffix in LINEAR) for part in parts}
        mesh = scene.to_mesh()
    if not len(mesh.faces):
        raise UserError(f"{path}: the mesh has no triangles")
    if len(textured) > 1:
        raise UserError(f"{path}: parts with a texture and parts without cannot be measured together")
    if not (np.isfinite(mesh.vertices).all() and mesh.area > 0):
        raise UserError(f"{path}: the mesh has no surface: its corners coincide or are not finite")
    return mesh.apply_transform(np.linalg.inv(TURNS[up or upright(path)]))


def upright(path: Path) -> str:
    """The axis that readers take for up: y in glTF and OBJ, but for an OBJ that says z;
    z in PLY.
    """
    if path.suffix == ".obj":
        with path.open(encoding="utf-8", errors="replace") as file:
            return "z" if file.readline().strip() == f"# {Z_UP}" else "y"
    return "y" if path.suffix in LINEAR else "z"


def bake_colours(part: trimesh.Trimesh, linear: bool) -> bool:
    """Multiply a mesh's texture, or the colours of its vertices, by its material;
    whether it has a texture.

    Args:
        part: The mesh, changed in place.
        linear: Whether colours of vertices and materials are linear light, as in glTF;
            else they are sRGB.

    Raises:
        ValueError: It has both a texture and colours, which trimesh loses.
    """
    texture, stored = texture_of(part), getattr(part.visual, "vertex_attributes", {}).get("color")
    if texture is not None and stored is not None:
        raise ValueError("it has a texture and colours of its vertices, which cannot be measured together")
    colours = texture.numpy() if texture is not None else colours_of_vertices(part, stored)
    if linear:
        light = colours if texture is None else linear_light(colours)  # a texture is sRGB everywhere
        colours = srgb(light * factor_of(part))
    else:
        colours = colours * factor_of(part)
    colours = (255 * colours).round().astype(np.uint8)
    if texture is None:
        part.visual = ColorVisuals(part, vertex_colors=colours)
    else:
        part.visual = TextureVisuals(part.visual.uv, image=Image.fromarray(colours))
    return texture is not None


def colours_of_vertices(part: trimesh.Trimesh, stored: np.ndarray | None) -> np.ndarray:
    """Colours `[V, 3]` in [0, 1]: stored beside a material, or its own, or white."""
    if stored is None and part.visual.kind in ("vertex", "face"):
        stored = part.visual.vertex_colors
    if stored is None:
        return np.ones((len(part.vertices), 3))
    return stored[:, :3] / (np.iinfo(stored.dtype).max if np.issubdtype(stored.dtype, np.integer) else 1)


def factor_of(mesh: trimesh.Trimesh) -> np.ndarray:
    """What a material multiplies all colours by, `[3]` in [0, 1]."""
    material = getattr(mesh.visual, "material", None)
    if isinstance(material, SimpleMaterial):  # says "grey" where a file says nothing of its texture's factor
        return np.ones(3) if texture_of(mesh) is not None else material.diffuse[:3] / 255
    factor = getattr(material, "baseColorFactor", None)
    return np.ones(3) if factor is None else factor[:3] / 255


def require_materials(path: Path) -> None:
    """Check that the materials and pictures that an OBJ names are there: trimesh would
    draw it grey.

    Raises:
        UserError: One is missing.
    """
    for library in files_named(path, "mtllib", path):
        files_named(library, "map_Kd", path)


def files_named(source: Path, word: str, mesh: Path) -> list[Path]:
    """The files that lines `WORD [OPTIONS] NAME` of a text name, relative to it.

    Raises:
        UserError: One is missing; the message has the mesh's path.
    """
    found = []
    text = source.read_text(encoding="utf-8", errors="replace")
    for rest in re.findall(rf"^\s*{word}\s+(.*\S)", text, re.MULTILINE):
        names = (rest, rest.split()[-1])  # a name may hold spaces, or stand behind options
        there = [source.parent / name for name in names if (source.parent / name).is_file()]
        if not there:
            raise UserError(f"{mesh}: names {names[-1]}, which is missing")
        found.append(there[0])
    return found


def surface_samples(mesh: trimesh.Trimesh, count: int) -> tuple[Tensor, Tensor]:
    """Draw points evenly on a mesh: the points and its colours there in [0, 1], two
    `[count, 3]`.

    Colours are sRGB: the texture's, or those of vertices.
    """
    points, face = trimesh.sample.sample_surface(mesh, count, seed=SEED)
    weights = trimesh.triangles.points_to_barycentric(mesh.triangles[face], points)[..., None]
    texture = texture_of(mesh)
    if texture is None:
        colours = (weights * mesh.visual.vertex_colors[mesh.faces[face], :3] / 255).sum(1)
    else:
        uv = (weights * mesh.visual.uv[mesh.faces[face]]).sum(1)
        colours = looked_up(texture, uv)
    return torch.from_numpy(points).float(), torch.as_tensor(colours).float()


def texture_of(mesh: trimesh.Trimesh) -> Tensor | None:
    """A mesh's texture in [0, 1], `[H, W, 3]`; None where it has none."""
    material = getattr(mesh.visual, "material", None)
    image = getattr(material, "image", None) or getattr(material, "baseColorTexture", None)
    if image is None or getattr(mesh.visual, "uv", None) is None:
        return None
    return torch.from_numpy(np.array(image.convert("RGB"))).float() / 255


def looked_up(texture: Tensor, uv: np.ndarray) -> Tensor:
    """A texture's colours at `[N, 2]`, from the lower left, between its pixels'
    middles, `[N, 3]`.
    """
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
