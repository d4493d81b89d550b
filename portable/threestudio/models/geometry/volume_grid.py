"""`volume-grid`: density and features on one dense lattice."""

from dataclasses import dataclass
from typing import Any

import threestudio
import torch
import torch.nn.functional as F
from threestudio.models.geometry.base import DensityGeometry, blob
from threestudio.utils.ops import get_activation, scale_tensor
from torch import Tensor, nn

NORMALS = (None, "pred", "finite_difference", "finite_difference_laplacian")
EPS = 1e-3  # the step of finite differences


@threestudio.register("volume-grid")
class VolumeGrid(DensityGeometry):
    """A lattice of densities and features, trilinearly interpolated."""

    @dataclass
    class Config(DensityGeometry.Config):
        grid_size: tuple[int, int, int] = (100, 100, 100)  # points along z, y, x
        n_feature_dims: int = 3
        density_activation: str | None = "softplus"
        density_bias: float | str = "blob"  # or a number
        density_blob_scale: float = 5.0
        density_blob_std: float = 0.5
        normal_type: str | None = (
            "finite_difference"  # null, pred, finite_difference, finite_difference_laplacian
        )
        isosurface_threshold: Any = "auto"

        def __post_init__(self) -> None:
            if self.normal_type not in NORMALS:
                raise ValueError(f"normal_type must be one of {NORMALS}, got {self.normal_type!r}")
            if isinstance(self.density_bias, str) and self.density_bias != "blob":
                raise ValueError(f"density_bias must be a number or blob, got {self.density_bias!r}")

    cfg: Config

    def configure(self) -> None:
        super().configure()
        self.grid = nn.Parameter(torch.zeros(1, self.cfg.n_feature_dims + 1, *self.cfg.grid_size))
        if self.cfg.density_bias == "blob":
            self.register_buffer("density_scale", torch.tensor(0.0))
        else:
            self.density_scale = nn.Parameter(torch.tensor(0.0))
        if self.cfg.normal_type == "pred":
            self.normal_grid = nn.Parameter(torch.zeros(1, 3, *self.cfg.grid_size))

    def _interpolate(self, points: Tensor, grid: Tensor) -> Tensor:
        """Points `[..., 3]` in the world to the lattice's values `[..., F]`."""
        unit = scale_tensor(points, self.bbox, (-1, 1))
        values = F.grid_sample(grid, unit.reshape(1, 1, 1, -1, 3), align_corners=False)
        return values.reshape(grid.shape[1], -1).T.reshape(*points.shape[:-1], -1)

    def _activated(self, points: Tensor, raw: Tensor) -> Tensor:
        bias = self.cfg.density_bias
        if bias == "blob":
            bias = blob(points.detach(), self.cfg.density_blob_scale, self.cfg.density_blob_std)
        return get_activation(self.cfg.density_activation)(raw * self.density_scale.exp() + bias)

    def forward(self, points: Tensor, output_normal: bool = False) -> dict[str, Tensor]:
        values = self._interpolate(points, self.grid)
        density = self._activated(points, values[..., :1])
        output = {"density": density, "features": values[..., 1:]}
        if output_normal:
            normal = self._normal(points, density)
            output |= {"normal": normal, "shading_normal": normal}
        return output

    def _normal(self, points: Tensor, density: Tensor) -> Tensor:
        if self.cfg.normal_type == "pred":
            return F.normalize(self._interpolate(points, self.normal_grid), dim=-1)
        return self.finite_difference_normal(points, density, EPS)

    def forward_density(self, points: Tensor) -> Tensor:
        return self._activated(points, self._interpolate(points, self.grid)[..., :1])

    def export(self, points: Tensor, **kwargs: Any) -> dict[str, Any]:
        if self.cfg.n_feature_dims == 0:
            return {}
        return {"features": self._interpolate(points, self.grid)[..., 1:]}
