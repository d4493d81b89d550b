"""`msd-multiscale-grid`: density and colour as a sum of dense lattices, quick to
converge.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import threestudio
import torch
import torch.nn.functional as F
from threestudio.models.geometry.base import BaseImplicitGeometry
from threestudio.utils.ops import chunk_batch
from torch import Tensor, nn

from ..distillation.noise import seed_from

OUTSIDE, INSIDE, PER_CELL = 1, 4, 2  # cells of the finest lattice that an exported colour is seen through
EXPORTED_TOGETHER = 2**15  # points


@threestudio.register("msd-multiscale-grid")
class MultiscaleGrid(BaseImplicitGeometry):
    """A geometry of threestudio: density and colour from lattices of several sizes over
    one box, summed.

    Coarse lattices move large parts and fine ones add detail. The density is sharpness
    softplus(raw + scale (1 - r / std)) inside a ball, and zero outside, where r is the
    distance from the origin, and scale and std are `density_blob_scale` and
    `density_blob_std`; the features are raw colours, for `no-material`. Called with
    points, `[..., 3]`, it returns `density`, `[..., 1]`, and `features`, `[..., 3]`.

    Raises:
        ValueError: `sizes` do not ascend from at least 2, or `radius`,
            `density_blob_std` or `sharpness` is not positive.
    """

    @dataclass
    class Config(BaseImplicitGeometry.Config):
        # of the ball, and of the box around it
        radius: float = 0.68
        # points along a side of each lattice; the last one is the finest
        sizes: list[int] = field(default_factory=lambda: [12, 24, 48])
        # standard deviation of the initial values
        init_scale: float = 0.1
        seed: int = 0
        # factor of the density: the larger, the thinner is the fog around a surface
        sharpness: float = 10.0
        # the initial shape: a scene that starts too large stays a ball
        density_blob_scale: float = 10.0
        density_blob_std: float = 0.25
        # sphere, ellipsoid or mesh:FILE in its place, as in threestudio's implicit-sdf: the radius, three of
        # them, or the mesh's largest coordinate; and the mesh's axes, y up and z to the front in a GLB
        shape_init: str | None = None
        shape_init_params: Any = None
        shape_init_mesh_up: str = "+z"
        shape_init_mesh_front: str = "+x"
        # what lies above is inside of an exported mesh
        isosurface_threshold: Any = 4.0

        def __post_init__(self) -> None:
            if not self.sizes or min(self.sizes) < 2 or sorted(self.sizes) != list(self.sizes):
                raise ValueError(f"sizes must be numbers of at least 2, ascending, got {list(self.sizes)}")
            for name in ("radius", "density_blob_std", "sharpness"):
                if getattr(self, name) <= 0:
                    raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
            if not re.fullmatch("sphere|ellipsoid|mesh:.+", self.shape_init or "sphere"):
                raise ValueError(
                    f"shape_init must be sphere, ellipsoid or mesh:FILE, got {self.shape_init!r}"
                )

    cfg: Config

    def configure(self) -> None:
        super().configure()
        generator = torch.Generator().manual_seed(seed_from(self.cfg.seed, "grid"))
        self.grids = nn.ParameterList(
            self.cfg.init_scale * torch.randn(1, 4, n, n, n, generator=generator) for n in self.cfg.sizes
        )
        if self.cfg.shape_init:
            self._begin_with_shape()

    @torch.no_grad()
    def _begin_with_shape(self) -> None:
        """Change the finest lattice so that the blob becomes the shape of the settings."""
        shapes = import_module(f"{__package__}.shapes")  # needs trimesh
        cfg, n, r = self.cfg, self.cfg.sizes[-1], self.cfg.radius
        axis = torch.linspace(-r, r, n)
        points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")[::-1], -1).reshape(-1, 3)
        raw = -cfg.density_blob_scale / cfg.density_blob_std * shapes.signed_distance(points, self.cfg)
        blob = self._raw_density(torch.zeros(1), points.norm(dim=-1))
        self.grids[-1][0, 0] += (raw - blob).view(n, n, n)

    def lattice(self, channels: slice = slice(None)) -> Tensor:
        """Return the sum of all lattices at the finest one's points, `[1, C, n, n, n]`
        (z, y, x); the first channel is raw density, the other three raw colour.

        Summed in cascade: each lattice is brought to the size of the next one only.
        """
        total, *finer = (grid[:, channels] for grid in self.grids)
        for grid in finer:
            total = grid + F.interpolate(total, grid.shape[2:], mode="trilinear", align_corners=True)
        return total

    def _values(self, points: Tensor) -> Tensor:
        """Raw values `[N, 4]` at points `[N, 3]`."""
        where = (points / self.cfg.radius).view(1, 1, 1, -1, 3)
        return F.grid_sample(self.lattice(), where, align_corners=True)[0, :, 0, 0].T

    @property
    def ball_radius(self) -> float:
        """Radius of the ball around the origin outside of which the density is zero."""
        return self.cfg.radius

    def _raw_density(self, raw: Tensor, radius: Tensor) -> Tensor:
        return raw + self.cfg.density_blob_scale * (1 - radius / self.cfg.density_blob_std)

    def _field(self, points: Tensor) -> Tensor:
        """Density and raw colour `[N, 4]`; points outside the ball cost nothing."""
        radius = points.norm(dim=-1, keepdim=True)
        inside = radius[:, 0] < self.cfg.radius
        if inside.all():
            return self._field_inside(points, radius)
        values = self._field_inside(points[inside], radius[inside])
        return points.new_zeros(len(points), 4).masked_scatter(inside[:, None], values)

    def _field_inside(self, points: Tensor, radius: Tensor) -> Tensor:
        raw = self._values(points)
        density = self.cfg.sharpness * F.softplus(self._raw_density(raw[:, :1], radius))
        return torch.cat([density, raw[:, 1:]], -1)

    def forward(self, points: Tensor, output_normal: bool = False) -> dict[str, Tensor]:
        """Evaluate density and features at points.

        Args:
            points: World coordinates, `[..., 3]`.
            output_normal: Whether to add normals.

        Returns:
            `density`, `[..., 1]`; `features`, `[..., 3]`; and with `output_normal` unit
            vectors `normal` and `shading_normal`, `[..., 3]`.
        """
        values = self._field(points.reshape(-1, 3)).unflatten(0, points.shape[:-1])
        output = {"density": values[..., :1], "features": values[..., 1:]}
        if output_normal:
            normal = self._normal(points)
            output |= {"normal": normal, "shading_normal": normal}
        return output

    def _normal(self, points: Tensor) -> Tensor:
        """Against the density's gradient, by central differences over half a cell."""
        eps = self.cfg.radius / self.cfg.sizes[-1]
        steps = eps * torch.eye(3, device=points.device)
        ahead, behind = (self.forward_density(points[..., None, :] + sign * steps) for sign in (1, -1))
        return F.normalize((behind - ahead)[..., 0], dim=-1)

    def forward_density(self, points: Tensor) -> Tensor:
        return self._field(points.reshape(-1, 3))[:, :1].unflatten(0, points.shape[:-1])

    def forward_field(self, points: Tensor) -> tuple[Tensor, None]:
        return self.forward_density(points), None

    def forward_level(self, field: Tensor, threshold: float) -> Tensor:
        return threshold - field

    def export(self, points: Tensor, **kwargs: Any) -> dict[str, Tensor]:
        """Compute the colours of an exported mesh's vertices as they look from outside.

        A surface is some cells of growing density, whose colours a renderer mixes:
        those along the normal, each weighed by the light that it sends out.

        Args:
            points: Points of the surface, `[N, 3]`.

        Returns:
            `features`, raw colours, `[N, 3]`.
        """
        return {"features": chunk_batch(self._seen, EXPORTED_TOGETHER, points)}

    def _seen(self, points: Tensor) -> Tensor:
        cell = 2 * self.cfg.radius / (self.cfg.sizes[-1] - 1)
        depths = torch.linspace(-OUTSIDE, INSIDE, PER_CELL * (OUTSIDE + INSIDE) + 1, device=points.device)
        field = self(points[:, None] - cell * depths[:, None] * self._normal(points)[:, None])
        thickness = field["density"] * cell / PER_CELL
        light = (thickness - thickness.cumsum(1)).exp() * -torch.expm1(-thickness)
        return (light * field["features"]).sum(1) / light.sum(1).clamp(min=1e-6)

    def total_variation(self) -> Tensor:
        """Sum |differences| of sigmoid(raw density) between neighbouring points of the
        lattice, 0-d.

        The result is about the area of the surface, in faces of cells.
        """
        n, r = self.cfg.sizes[-1], self.cfg.radius
        axis = torch.linspace(-r, r, n, device=self.bbox.device)
        z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
        radius = torch.stack([x, y, z]).norm(dim=0)
        occupied = self._raw_density(self.lattice(slice(1))[0, 0], radius).sigmoid()
        return torch.stack([occupied.diff(dim=dim).abs().sum() for dim in range(3)]).sum()
