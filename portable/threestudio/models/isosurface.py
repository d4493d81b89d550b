"""Meshes of level sets, by marching cubes."""

import numpy as np
import torch
from threestudio.models.mesh import Mesh
from torch import Tensor, nn


class MarchingCubeCPUHelper(nn.Module):
    """Marching cubes (PyMCubes) on a cubic lattice in [0, 1]^3 with `resolution` points
    a side.
    """

    def __init__(self, resolution: int) -> None:
        super().__init__()
        self.resolution = resolution

    @property
    def grid_vertices(self) -> Tensor:
        """The lattice's points, `[resolution^3, 3]`, on the CPU."""
        axis = torch.linspace(0, 1, self.resolution)
        return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)

    def forward(self, level: Tensor, deformation: Tensor | None = None) -> Mesh:
        """The surface where `level [resolution^3, 1]` is zero, negative inside. It may
        have no triangles.
        """
        import mcubes

        # to PyMCubes a value at the threshold is not above it: of -level it would be outside, of level inside
        values = level.detach().float().cpu().reshape([self.resolution] * 3).numpy()
        vertices, triangles = mcubes.marching_cubes(values, 0.0)
        return Mesh(
            torch.from_numpy(vertices).float() / (self.resolution - 1),
            torch.from_numpy(triangles[:, ::-1].astype(np.int64)),  # outward again
        )
