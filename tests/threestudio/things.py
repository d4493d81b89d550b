"""What threestudio's configs read beside models: a picture, photographs with cameras, a mesh, tetrahedra."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image

TETRAHEDRA = 16
SIZE = 32


def make_things(folder: Path) -> None:
    """Write all, as `load/` of a checkout."""
    (folder / "tets").mkdir(parents=True)
    np.savez(folder / "tets" / f"{TETRAHEDRA}_tets.npz", **tetrahedra(TETRAHEDRA))
    Image.fromarray(disc()).save(folder / "disc_rgba.png")
    trimesh.creation.box().export(folder / "box.obj")
    photographs(folder / "photographs")


def tetrahedra(cells: int) -> dict[str, np.ndarray]:
    """A cube's lattice, each cell in six tetrahedra around its diagonal, all turned the same way."""
    axis = np.arange(cells + 1)
    corners = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    origins = corners[(corners < cells).all(1)]
    weights = np.array([(cells + 1) ** 2, cells + 1, 1])
    found = []
    for order in permutations(np.eye(3, dtype=int)):
        steps = np.cumsum([np.zeros(3, dtype=int), *order], axis=0)
        turned = np.linalg.det(np.stack(order)) < 0
        tets = (origins[:, None] + steps) @ weights
        found.append(tets[:, [0, 2, 1, 3]] if turned else tets)
    return {"vertices": corners / cells, "indices": np.concatenate(found)}


def disc() -> np.ndarray:
    """A green disc on nothing, RGBA."""
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    inside = np.hypot(x, y) < SIZE / 3
    return np.stack([0 * x, 200 * inside, 0 * x, 255 * inside], -1).astype(np.uint8)


def photographs(folder: Path) -> None:
    """Two, from in front and from the left, as nerfstudio writes them."""
    folder.mkdir()
    frames = []
    for i, turn in enumerate((0.0, np.pi / 2)):
        Image.fromarray(disc()[..., :3]).save(folder / f"{i}.png")
        pose = np.eye(4)
        pose[:3, :3] = [[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]
        pose[:3, 3] = 2 * pose[:3, 2]
        lens = {"w": SIZE, "h": SIZE, "fl_x": SIZE, "fl_y": SIZE, "cx": SIZE / 2, "cy": SIZE / 2}
        frames.append({"file_path": f"{i}.png", "transform_matrix": pose.tolist(), **lens})
    text = json.dumps({"camera_model": "OPENCV", "frames": frames})
    (folder / "transforms.json").write_text(text)
