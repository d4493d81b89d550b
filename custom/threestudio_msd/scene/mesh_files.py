"""Meshes as files, by trimesh, so that their readers show them upright and in their
colours. A mesh is a `trimesh.Trimesh` with the texture of a `PBRMaterial`, sRGB
colours of its vertices, or neither.
"""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import threestudio
import torch
import trimesh
from PIL import Image
from torch import Tensor, nn
from trimesh.exchange.gltf import export_glb
from trimesh.exchange.obj import export_obj
from trimesh.visual import ColorVisuals, TextureVisuals
from trimesh.visual.material import PBRMaterial

from ..assets_path import asset
from .exporter import formats_of
from .surface import PADDING, baked, simplified, unwrapped

TURNS = {"z": np.eye(4), "y": np.eye(4)[[1, 2, 0, 3]]}
"""From threestudio's axes, z up and x to the front, to those with this axis up: y up has z to the front."""
TEXTURED = ("glb", "obj-mtl", "html")
UNLIT = "KHR_materials_unlit"
Z_UP = "z up"  # the first comment of an OBJ of which readers must know it


def exported(cfg: Any, geometry: nn.Module, material: nn.Module) -> dict[str, bytes]:
    """Make the mesh files of a scene's surface.

    Args:
        cfg: Settings of `msd-mesh-exporter`.
        geometry: threestudio's geometry.
        material: threestudio's material.

    Returns:
        Contents by file name.

    Raises:
        UserError: xatlas lacks an option of the settings.
    """
    textured = {fmt: cfg.save_uv and fmt in TEXTURED for fmt in formats_of(cfg.fmt)}
    surface, albedo = surface_of(geometry, cfg.faces), Albedo(geometry, material)
    coloured = {kind: coloured_by(albedo, surface, kind, cfg) for kind in set(textured.values())}
    unlit = not material.requires_normal if cfg.unlit is None else cfg.unlit
    files: dict[str, bytes] = {}
    for fmt, kind in textured.items():
        files |= files_of(coloured[kind], fmt, unlit, cfg)
    return files


def surface_of(geometry: Any, most: int | None) -> trimesh.Trimesh:
    """Return a geometry's surface, z up, simplified to `most` faces if it has more;
    None or 0 keeps all.
    """
    mesh = geometry.isosurface()
    vertices, faces = (t.detach().cpu().numpy() for t in (mesh.v_pos, mesh.t_pos_idx))
    if not most or most >= len(faces):
        return trimesh.Trimesh(vertices, faces, process=False)
    shape, moved = simplified(vertices, faces, most)
    mean, largest = moved.mean() / shape.scale, moved.max() / shape.scale
    threestudio.info(
        f"Simplified {len(faces):,} faces to {len(shape.faces):,}; "
        f"the surface moved by {mean:.3%} of its diagonal on average, {largest:.2%} at most"
    )
    return shape


@dataclass(frozen=True)
class Albedo:
    """The colours of a scene's surface, as a function of points.

    Attributes:
        geometry: threestudio's geometry.
        material: threestudio's material.
    """

    geometry: Any
    material: Any

    def __call__(self, points: Tensor) -> Tensor | None:
        """Return the colours in [0, 1] at points `[N, 3]`, `[N, 3]`; None if the
        material has no albedo.
        """
        points = points.to(self.geometry.bbox.device)
        return self.material.export(points=points, **self.geometry.export(points=points)).get("albedo")


def coloured_by(albedo: Albedo, surface: trimesh.Trimesh, textured: bool, cfg: Any) -> trimesh.Trimesh:
    """Copy a surface with its colours, in a texture or at the vertices; without colours
    the surface itself is returned.

    Args:
        albedo: The colours; a material without albedo costs a warning.
        surface: The mesh.
        textured: Whether colours are in a texture.
        cfg: Settings of `msd-mesh-exporter`; no `save_texture` means no colours.

    Raises:
        UserError: xatlas lacks an option of the settings.
    """
    vertices = np.asarray(surface.vertices, np.float32)
    # of a texture only whether there are any: `baked` computes them
    colours = albedo(torch.from_numpy(vertices[: 1 if textured else None])) if cfg.save_texture else None
    if cfg.save_texture and colours is None:
        threestudio.warn("The material has no albedo: the mesh is exported without colours")
    if colours is None:
        return surface
    if not textured:
        surface = surface.copy()
        surface.visual = ColorVisuals(surface, vertex_colors=_bytes(colours))
        return surface
    pack = {"resolution": cfg.texture_size, "padding": PADDING, **cfg.xatlas_pack_options}
    origin, faces, uv = unwrapped(vertices, surface.faces, cfg.xatlas_chart_options, pack)
    image = Image.fromarray(_bytes(baked(uv, faces, vertices[origin], cfg.texture_size, albedo)))
    return trimesh.Trimesh(
        vertices[origin],
        faces,
        vertex_normals=surface.vertex_normals[origin],
        visual=TextureVisuals(uv=uv, material=PBRMaterial(baseColorTexture=image)),
        process=False,
    )


def _bytes(colours: Tensor) -> np.ndarray:
    return (colours.float().cpu().numpy().clip(0, 1) * 255).round().astype(np.uint8)


def files_of(shape: trimesh.Trimesh, fmt: str, unlit: bool, cfg: Any) -> dict[str, bytes]:
    """Return the contents of the files of one format, by file name.

    Args:
        shape: The coloured mesh, z up.
        fmt: `glb`, `obj-mtl`, `obj`, `ply` or `html`.
        unlit: Whether colours hold their light, so that readers add none.
        cfg: Settings of `msd-mesh-exporter`.
    """
    kind, name = fmt.removesuffix("-mtl"), cfg.save_name
    up = "y" if kind == "html" else cfg[f"up_{kind}"]
    shape = turned(shape, up)
    if kind == "obj":
        return obj(shape, name, cfg.save_normal, cfg.texture_format, Z_UP if up == "z" else None)
    if kind == "ply":
        return {f"{name}.ply": shape.export(file_type="ply", vertex_normal=cfg.save_normal)}
    model = glb(shape, name, cfg.save_normal or not unlit, unlit)
    return {f"{name}.{kind}": page(model, name) if kind == "html" else model}


def linear_light(srgb: np.ndarray) -> np.ndarray:
    """Decode sRGB in [0, 1] to linear light in [0, 1], of any shape (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def srgb(linear: np.ndarray) -> np.ndarray:
    """Encode linear light in [0, 1] as sRGB in [0, 1], of any shape (IEC 61966-2-1)."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def turned(shape: trimesh.Trimesh, up: str) -> trimesh.Trimesh:
    """Copy a mesh, with its normals, from threestudio's axes to those with `up`, `y` or
    `z`, as the upper one.
    """
    return shape.copy(include_cache=True).apply_transform(TURNS[up])


def glb(shape: trimesh.Trimesh, name: str, normals: bool, unlit: bool) -> bytes:
    """Return a mesh as a binary glTF without metal or gloss; colours of vertices are
    linear light in 32 bits.

    Args:
        shape: The coloured mesh, y up.
        name: Name of the object.
        normals: Whether normals are included.
        unlit: Whether readers are to add no light.
    """

    def complete(tree: dict[str, Any]) -> None:
        (primitive,) = tree["meshes"][0]["primitives"]
        attributes = primitive["attributes"]
        if "_colour" in attributes:
            attributes["COLOR_0"] = attributes.pop("_colour")
        material = tree.setdefault("materials", [{}])[primitive.setdefault("material", 0)]
        material.setdefault("pbrMetallicRoughness", {}).update(metallicFactor=0.0, roughnessFactor=1.0)
        if unlit:
            material["extensions"], tree["extensionsUsed"] = {UNLIT: {}}, [UNLIT]

    if shape.visual.kind == "vertex":  # trimesh writes bytes of sRGB, where glTF has linear light
        colours = linear_light(shape.visual.vertex_colors / 255).astype(np.float32)
        shape = trimesh.Trimesh(
            shape.vertices,
            shape.faces,
            vertex_normals=shape.vertex_normals,
            vertex_attributes={"_colour": colours},
            process=False,
        )
    return export_glb(trimesh.Scene({name: shape}), include_normals=normals, tree_postprocessor=complete)


def obj(
    shape: trimesh.Trimesh, name: str, normals: bool, texture_format: str, header: str | None
) -> dict[str, bytes]:
    """Return a mesh as an OBJ, with colours beside its vertices or in a picture.

    Args:
        shape: The coloured mesh.
        name: Name of the files, without suffix.
        normals: Whether normals are included.
        texture_format: `jpg` or `png`.
        header: First comment of the file; None for none.

    Returns:
        Contents by file name: `NAME.obj`, and for a textured mesh `NAME.mtl` and the
        picture.
    """
    parts, picture = {}, f"{name}_kd.{texture_format}"
    if shape.visual.kind == "texture":
        shape.visual.material.name = name
        image, file = shape.visual.material.baseColorTexture, io.BytesIO()
        image.save(file, "JPEG" if texture_format == "jpg" else "PNG", quality=95)
        mtl = f"newmtl {name}\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nmap_Kd {picture}\n"
        parts = {picture: file.getvalue(), f"{name}.mtl": mtl.encode()}
    text = export_obj(shape, include_normals=normals, mtl_name=f"{name}.mtl", header=header)
    return {**parts, f"{name}.obj": text.encode()}


def page(model: bytes, name: str) -> bytes:
    """Return an HTML page that turns a mesh; it holds the mesh and needs no network.

    Args:
        model: The mesh, as `glb` returns it.
        name: Title of the page.
    """
    template = Path(asset("turntable.html")).read_text(encoding="utf-8")
    data = base64.b64encode(model).decode()
    return template.replace("{{name}}", html.escape(name)).replace("{{glb}}", data).encode()
