"""T3Bench's protocol (He et al. 2023, arXiv 2310.02977) for meshes without a truth,
scored by any model.

A mesh is centred and scaled, seen in its own colours from the 162 corners of an
icosphere of radius 2.2 with five fields of view on black. The score of a corner is its
best field of view's; scores are then averaged with their neighbours' three times, and
the best one counts: a single lucky view does not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import trimesh
from torch import Tensor

from ..tinyworld.render import Cameras
from .meshes import surface_samples, views_of

SUBDIVISIONS, RADIUS = 2, 2.2
FIELDS = tuple(180 / n for n in (3, 4, 5, 6, 7.5))  # vertical, degrees
ROUNDS = 3
SIZE = 224
POINTS_PER_PIXEL = 24

# How well images `[N, H, W, 3]` in [0, 1] show the prompt, `[N]`
Score = Callable[[Tensor], np.ndarray]


def normalised(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """Copy a mesh so that its vertices' mean is the origin and its largest coordinate
    is 1.
    """
    moved = mesh.copy()
    moved.vertices -= moved.vertices.mean(0)
    moved.vertices /= np.abs(moved.vertices).max()
    return moved


def corners() -> trimesh.Trimesh:
    """The icosphere that the cameras stand on."""
    return trimesh.creation.icosphere(SUBDIVISIONS, RADIUS)


def cameras_at(corner: np.ndarray) -> Cameras:
    """One camera for each field of view, all at a corner `[3]`, looking at the
    origin.
    """
    x, y, z = corner / np.linalg.norm(corner)
    angles = np.degrees(np.arcsin(z)), np.degrees(np.arctan2(y, x))
    place = (torch.full((len(FIELDS),), float(value)) for value in (*angles, RADIUS))
    return Cameras(*place, torch.tensor(FIELDS))


def smoothed(scores: np.ndarray, sphere: trimesh.Trimesh) -> np.ndarray:
    """Average the scores `[V]` of the corners with their neighbours', `ROUNDS`
    times.
    """
    for _ in range(ROUNDS):
        scores = np.array([scores[[i, *near]].mean() for i, near in enumerate(sphere.vertex_neighbors)])
    return scores


def t3_scores(mesh: trimesh.Trimesh, score: Score, size: int = SIZE) -> dict[str, float]:
    """Score a mesh with colours by its pictures, `size` pixels a side.

    Returns:
        `t3`, the benchmark's figure in the score's own units, and `t3_mean`, the mean
        over all corners.
    """
    sphere, background = corners(), torch.zeros(3)
    samples = surface_samples(normalised(mesh), POINTS_PER_PIXEL * size**2)
    best = np.array(
        [
            float(np.max(score(views_of(*samples, cameras_at(corner), size, background))))
            for corner in sphere.vertices
        ]
    )
    return {"t3": float(smoothed(best, sphere).max()), "t3_mean": float(np.mean(best))}
