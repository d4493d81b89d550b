"""`mesh-exporter`: the surface as a coloured mesh."""

from dataclasses import dataclass, field

import threestudio
import torch
from threestudio.models.exporters.base import Exporter, ExporterOutput

FORMATS = ("obj-mtl", "obj", "glb")


@threestudio.register("mesh-exporter")
class MeshExporter(Exporter):
    """Marching cubes, and the material's colour at every vertex."""

    @dataclass
    class Config(Exporter.Config):
        """Settings of `mesh-exporter`; those of texture maps are threestudio's and change nothing here."""

        fmt: str = "obj-mtl"  # obj-mtl or obj, or glb; all with the colours of vertices
        save_name: str = "model"
        save_normal: bool = False
        save_uv: bool = True
        save_texture: bool = True  # colours
        texture_size: int = 1024
        texture_format: str = "jpg"
        xatlas_chart_options: dict = field(default_factory=dict)
        xatlas_pack_options: dict = field(default_factory=dict)
        context_type: str = "gl"

        def __post_init__(self) -> None:
            if self.fmt not in FORMATS:
                raise ValueError(f"fmt must be one of {', '.join(FORMATS)}, got {self.fmt!r}")

    cfg: Config

    @torch.no_grad()
    def __call__(self) -> list[ExporterOutput]:
        """The mesh, in one file."""
        mesh = self.geometry.isosurface()
        if self.cfg.save_texture:
            features = self.geometry.export(points=mesh.v_pos)
            textures = self.material.export(points=mesh.v_pos, **features)
            if "albedo" in textures:
                mesh.set_vertex_color(textures["albedo"])
            else:
                threestudio.warn("The material has no albedo: the mesh is exported without colours")
        suffix = "glb" if self.cfg.fmt == "glb" else "obj"
        params = {"mesh": mesh, "save_normal": self.cfg.save_normal}
        return [ExporterOutput(f"{self.cfg.save_name}.{suffix}", "mesh_file", params)]
