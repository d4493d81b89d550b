"""Initial shapes of a scene, as threestudio's `shape_init` names them: `sphere`,
`ellipsoid` or `mesh:FILE`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from torch import Tensor

from ..errors import UserError, first_line

AXES = {
    sign + axis: (1 if sign == "+" else -1) * np.eye(3)[i] for sign in "+-" for i, axis in enumerate("xyz")
}
SAMPLES, TOGETHER = 5000, 4096  # of a mesh's surface; points whose distances are taken at once


def signed_distance(points: Tensor, cfg: Any) -> Tensor:
    """How far points `[N, 3]` are from the shape that a geometry's settings name, `[N]`,
    negative inside.

    Raises:
        UserError: A setting is wrong, or the file cannot be read.
    """
    kind, params = cfg.shape_init, cfg.shape_init_params
    try:
        if kind == "ellipsoid":
            halves = points.new_tensor([float(half) for half in params])
            return ((points / halves).norm(dim=-1) - 1) * halves.min()  # exact along the shortest axis
        if kind == "sphere":
            return points.norm(dim=-1) - float(params)
        size = float(params)
    except (TypeError, ValueError, RuntimeError) as error:
        wanted = "three numbers" if kind == "ellipsoid" else "a number"
        raise UserError(f"system.geometry.shape_init_params: {kind} needs {wanted}, got {params}") from error
    mesh = placed(kind.removeprefix("mesh:"), size, cfg.shape_init_mesh_up, cfg.shape_init_mesh_front)
    return torch.cat([distance_from(mesh, part) for part in points.split(TOGETHER)])


def placed(file: str, size: float, up: str, front: str) -> trimesh.Trimesh:
    """Load a mesh, centred, its largest coordinate `size`, turned to z up and x to the front.

    Raises:
        UserError: The axes are none or not orthogonal, or the file cannot be read.
    """
    if up not in AXES or front not in AXES or up[1] == front[1]:
        raise UserError(
            "system.geometry: shape_init_mesh_up and shape_init_mesh_front must be two different axes of "
            f"{', '.join(AXES)}, got {up} and {front}"
        )
    try:
        mesh = trimesh.load_scene(Path(file), process=False).to_mesh()
    except Exception as error:  # each format has its own
        raise UserError(f"system.geometry.shape_init: {file}: {first_line(error)}") from error
    vertices = mesh.vertices - mesh.vertices.mean(0)
    turn = np.stack([AXES[front], np.cross(AXES[up], AXES[front]), AXES[up]])
    return trimesh.Trimesh(vertices @ turn.T * (size / np.abs(vertices).max()), mesh.faces, process=False)


def distance_from(mesh: trimesh.Trimesh, points: Tensor) -> Tensor:
    """Distances `[N]` of points `[N, 3]` from samples of a mesh, negative inside: where its
    winding number is over a half (Barill et al. 2018), which holes do not spoil.
    """
    places, face = trimesh.sample.sample_surface(mesh, SAMPLES, seed=0)
    samples = torch.from_numpy(places).to(points)
    normals = torch.from_numpy(mesh.face_normals[face]).to(points) * (mesh.area / SAMPLES)
    apart = torch.cdist(points, samples)
    along = (samples * normals).sum(-1) - points @ normals.T
    winding = (along / apart.clamp(min=mesh.scale / 100) ** 3).sum(-1) / (4 * math.pi)
    return torch.where(winding > 0.5, -1, 1) * apart.amin(-1)
