"""`mesh-exporter`: the surface as a coloured mesh."""

import os
from dataclasses import dataclass, field

import threestudio
import torch
from threestudio.models.exporters.base import Exporter, ExporterOutput
from threestudio.models.mesh import Mesh
from threestudio.models.texture import paint, unwrap
from torch import Tensor

FORMATS = ("obj-mtl", "obj", "glb")
TEXTURED = ("obj-mtl", "glb")


@threestudio.register("mesh-exporter")
class MeshExporter(Exporter):
    """Marching cubes, and the material's colour at every vertex or in every pixel of a
    texture.
    """

    @dataclass
    class Config(Exporter.Config):
        fmt: str = "obj-mtl"  # obj-mtl or glb, with a texture; obj, or save_uv false: colours of vertices
        save_name: str = "model"
        save_normal: bool = False
        save_uv: bool = True
        save_texture: bool = True  # colours
        texture_size: int = 1024
        texture_format: str = "jpg"  # or png; of obj-mtl
        xatlas_chart_options: dict = field(default_factory=dict)
        xatlas_pack_options: dict = field(default_factory=dict)
        context_type: str = "gl"  # threestudio's, of its rasteriser; not used

        def __post_init__(self) -> None:
            if self.fmt not in FORMATS:
                raise ValueError(f"fmt must be one of {', '.join(FORMATS)}, got {self.fmt!r}")
            if self.texture_format not in ("jpg", "png"):
                raise ValueError(f"texture_format must be jpg or png, got {self.texture_format!r}")
            if self.texture_size < 1:
                raise ValueError(f"texture_size must be at least 1, got {self.texture_size}")
            if not self.save_name or os.path.basename(self.save_name) != self.save_name:
                raise ValueError(f"save_name must be a file's name without a folder, got {self.save_name!r}")

    cfg: Config

    @torch.no_grad()
    def __call__(self) -> list[ExporterOutput]:
        """The mesh; what its texture needs lies beside it."""
        cfg, mesh = self.cfg, self.geometry.isosurface()
        if cfg.save_texture:
            mesh = self._coloured(mesh)
        params = {"mesh": mesh, "save_normal": cfg.save_normal}
        if mesh.texture is not None:
            params["texture_format"] = cfg.texture_format
        suffix = "glb" if cfg.fmt == "glb" else "obj"
        return [ExporterOutput(f"{cfg.save_name}.{suffix}", "mesh_file", params)]

    def _coloured(self, mesh: Mesh) -> Mesh:
        colours = self._albedo(mesh.v_pos)
        if colours is None:
            threestudio.warn("The material has no albedo: the mesh is exported without colours")
        elif self.cfg.save_uv and self.cfg.fmt in TEXTURED:
            mesh = unwrap(mesh, self.cfg.xatlas_chart_options, self.cfg.xatlas_pack_options)
            mesh.texture = paint(mesh, self.cfg.texture_size, self._albedo)
        else:
            mesh.set_vertex_color(colours)
        return mesh

    def _albedo(self, points: Tensor) -> Tensor | None:
        """The material's colours at points `[N, 3]`, `[N, 3]`; None where it has
        none.
        """
        features = self.geometry.export(points=points)
        return self.material.export(points=points, **features).get("albedo")
