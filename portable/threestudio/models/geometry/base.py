"""Bases of geometries: a bounding box, normals from a density, and meshes of level
sets.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import threestudio
import torch
import torch.nn.functional as F
from threestudio.models.isosurface import MarchingCubeCPUHelper
from threestudio.models.mesh import Mesh
from threestudio.utils.base import BaseModule
from threestudio.utils.config import ConfigError
from threestudio.utils.ops import chunk_batch, scale_tensor
from torch import Tensor


class BaseGeometry(BaseModule):
    """Anything with a shape."""

    def export(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the inputs of a material at points of the surface."""
        return {}


class BaseImplicitGeometry(BaseGeometry):
    """A field in a box; a subclass says what it is, `forward_field`, and where its
    surface lies, `forward_level`.
    """

    @dataclass
    class Config(BaseGeometry.Config):
        radius: float = 1.0  # half the side of the box about the origin
        isosurface: bool = True
        # mt is threestudio's default, marching tetrahedra; both are done by marching cubes here
        isosurface_method: str = "mt"
        isosurface_resolution: int = 128
        isosurface_threshold: Any = 0.0  # or auto, the mean where the field is positive
        isosurface_chunk: int = 0
        isosurface_coarse_to_fine: bool = True  # again, in the box that the first surface needs
        isosurface_deformable_grid: bool = False  # not supported
        isosurface_remove_outliers: bool = True
        isosurface_outlier_n_faces_threshold: Any = 0.01  # triangles, or part of the largest component's

    cfg: Config

    def configure(self) -> None:
        r = self.cfg.radius
        self.register_buffer("bbox", torch.tensor([[-r, -r, -r], [r, r, r]], dtype=torch.float32))

    def forward(self, points: Tensor, output_normal: bool = False) -> dict[str, Tensor]:
        """The field at points `[..., 3]`: `density [..., 1]`, `features [..., F]`,
        normals if asked for.
        """
        raise NotImplementedError

    def forward_field(self, points: Tensor) -> tuple[Tensor, Tensor | None]:
        """The value that `forward_level` takes, `[..., 1]`, and how lattice points are
        displaced, or None.
        """
        raise NotImplementedError

    def forward_level(self, field: Tensor, threshold: float) -> Tensor:
        """A function of the field that is zero at the surface, negative inside."""
        raise NotImplementedError

    def isosurface(self) -> Mesh:
        """The surface as a mesh.

        Raises:
            ConfigError: There is no surface, or the settings do not allow one.
        """
        if not self.cfg.isosurface:
            raise ConfigError("system.geometry.isosurface is false: there is no mesh to export")
        with torch.no_grad():
            if not self.cfg.isosurface_coarse_to_fine:
                return self._isosurface(self.bbox)
            vertices = self._isosurface(self.bbox).v_pos
            low, high = vertices.amin(0), vertices.amax(0)
            margin = 0.1 * (high - low)
            return self._isosurface(
                torch.stack([(low - margin).max(self.bbox[0]), (high + margin).min(self.bbox[1])])
            )

    def _isosurface(self, bbox: Tensor) -> Mesh:
        helper = MarchingCubeCPUHelper(self.cfg.isosurface_resolution)

        def field_at(points: Tensor) -> Tensor:
            return self.forward_field(scale_tensor(points.to(bbox), (0, 1), bbox))[0].cpu()

        field = chunk_batch(field_at, self.cfg.isosurface_chunk or 2**18, helper.grid_vertices)
        if not torch.isfinite(field).all():
            raise FloatingPointError("the geometry's field holds NaN or Inf: there is no mesh to export")
        threshold = self._threshold(field)
        mesh = helper(self.forward_level(field, threshold))
        if not len(mesh.t_pos_idx):
            raise ConfigError(
                f"system.geometry.isosurface_threshold: the field lies between {field.min():.3g} and "
                f"{field.max():.3g} and never crosses {threshold:.3g}: there is no surface to export"
            )
        mesh = Mesh(scale_tensor(mesh.v_pos.to(bbox), (0, 1), bbox), mesh.t_pos_idx.to(bbox.device))
        if self.cfg.isosurface_remove_outliers:
            mesh = mesh.remove_outlier(self.cfg.isosurface_outlier_n_faces_threshold)
        return mesh

    def _threshold(self, field: Tensor) -> float:
        threshold = self.cfg.isosurface_threshold
        if threshold != "auto":
            if isinstance(threshold, str):
                raise ConfigError(
                    f"system.geometry.isosurface_threshold: expected a number or auto, got {threshold!r}"
                )
            return float(threshold)
        positive = field[field > 1e-5]
        if not len(positive):
            raise ConfigError(
                "the geometry is empty, its field is zero everywhere: there is no mesh to export"
            )
        threestudio.info(f"Automatically determined isosurface threshold: {positive.mean():.4g}")
        return positive.mean().item()


class DensityGeometry(BaseImplicitGeometry):
    """A density: its normals point against its gradient, its surface is where it passes
    a threshold.
    """

    def forward_density(self, points: Tensor) -> Tensor:
        raise NotImplementedError

    def finite_difference_normal(self, points: Tensor, density: Tensor, eps: float) -> Tensor:
        """Take normals `[..., 3]` at points with a density `[..., 1]` as `normal_type`
        says, one way or both.

        Raises:
            ConfigError: `normal_type` is null.
        """
        kind = self.cfg.normal_type
        if kind is None:
            raise ConfigError("system.geometry.normal_type is null, but the material needs normals")
        central = kind == "finite_difference_laplacian"
        return finite_difference_normal(self.forward_density, points, density, eps, self.cfg.radius, central)

    def forward_field(self, points: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.cfg.isosurface_deformable_grid:
            threestudio.warn(f"{type(self).__name__} does not support isosurface_deformable_grid. Ignoring.")
        return self.forward_density(points), None

    def forward_level(self, field: Tensor, threshold: float) -> Tensor:
        return threshold - field


def finite_difference_normal(
    density: Callable[[Tensor], Tensor],
    points: Tensor,
    here: Tensor,
    eps: float,
    radius: float,
    central: bool,
) -> Tensor:
    """Unit vectors against the gradient of a density, from values at points a step
    apart.

    Args:
        density: `[..., 3]` to `[..., 1]`.
        points: Where, `[..., 3]`.
        here: The density there, `[..., 1]`.
        eps: The step.
        radius: Half the side of the box that points are kept in.
        central: Whether to take two steps an axis, back and forth, or one, forward.
    """
    steps = eps * torch.eye(3, device=points.device, dtype=points.dtype)
    if central:
        offsets = torch.stack([steps, -steps], 1).reshape(6, 3)
        values = density((points[..., None, :] + offsets).clamp(-radius, radius))[..., 0]
        gradient = 0.5 * (values[..., 0::2] - values[..., 1::2]) / eps
    else:
        values = density((points[..., None, :] + steps).clamp(-radius, radius))[..., 0]
        gradient = (values - here) / eps
    return F.normalize(-gradient, dim=-1)


def blob(points: Tensor, scale: float, std: float) -> Tensor:
    """Magic3D's initial shape, a bias of the raw density that falls linearly from the
    origin: `scale (1 - r / std)`.
    """
    return scale * (1 - (points**2).sum(-1, keepdim=True).sqrt() / std)
