"""`msd-mesh-exporter`: a scene's surface in files that open upright and in their
colours, on every host.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import threestudio
import torch
from threestudio.models.exporters.base import Exporter, ExporterOutput

from ..errors import UserError, install

FORMATS = ("glb", "obj-mtl", "obj", "ply", "html")
CHOICES = {
    "fmt": FORMATS,
    "texture_format": ("jpg", "png"),
    **dict.fromkeys(("up_glb", "up_obj", "up_ply"), ("y", "z")),
}


@threestudio.register("msd-mesh-exporter")
class MSDMeshExporter(Exporter):
    """Exports a scene's surface as mesh files: marching cubes, simplified, with the
    material's colours in a texture or at the vertices.

    Called without arguments, it writes the files and returns one `ExporterOutput` for
    each.

    Raises:
        ValueError: A value of its settings is not among the choices or out of range.
    """

    @dataclass
    class Config(Exporter.Config):
        # glb, obj-mtl, obj, ply, or html, a page that turns the object; or several: [glb, html]
        fmt: Any = "glb"
        save_name: str = "model"
        # how many triangles are kept; 0 or null: the full surface
        faces: int | None = 10_000
        # whether there are colours; in glb, obj-mtl and html as a texture if save_uv, else those of vertices
        save_texture: bool = True
        save_uv: bool = True
        save_normal: bool = False
        # whether colours hold their light, so that readers add none; null: if the material needs no normals
        unlit: bool | None = None
        texture_size: int = 1024
        # png or jpg; of obj-mtl
        texture_format: str = "png"
        # the axis that is up: y, as the readers of a format take it, or z, as in threestudio
        up_glb: str = "y"
        up_obj: str = "y"
        up_ply: str = "z"
        xatlas_chart_options: dict = field(default_factory=dict)
        xatlas_pack_options: dict = field(default_factory=dict)
        # threestudio's, of its rasteriser; not used
        context_type: str = "gl"

        def __post_init__(self) -> None:
            values = {name: [getattr(self, name)] for name in CHOICES} | {"fmt": formats_of(self.fmt)}
            for name, known in CHOICES.items():
                for value in values[name]:
                    if value not in known:
                        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
            if self.texture_size < 1:
                raise ValueError(f"texture_size must be at least 1, got {self.texture_size}")
            if self.faces is not None and self.faces < 0:
                raise ValueError(f"faces must be at least 0, got {self.faces}")
            if not self.save_name or os.path.basename(self.save_name) != self.save_name:
                raise ValueError(f"save_name must be a file's name without a folder, got {self.save_name!r}")

    cfg: Config

    @torch.no_grad()
    def __call__(self) -> list[ExporterOutput]:
        """Write the files into a temporary folder, from which the system copies them.

        Returns:
            One output for each file.

        Raises:
            UserError: A package is missing, or xatlas lacks an option of the config.
        """
        try:  # what writes them needs packages of the extra, and is read when it is needed
            mesh_files = import_module(f"{__package__}.mesh_files")
            files = mesh_files.exported(self.cfg, self.geometry, self.material)
        except ImportError as error:
            raise UserError(f"--export needs the package {error.name}: {install('3d')}") from error
        self._aside = tempfile.TemporaryDirectory()  # removed with the exporter
        return [self._output(*file) for file in files.items()]

    def _output(self, name: str, content: bytes) -> ExporterOutput:
        path = Path(self._aside.name, name)
        path.write_bytes(content)
        return ExporterOutput(name, "file", {"src_path": str(path)})


def formats_of(fmt: Any) -> list[Any]:
    """Return the formats that a setting names, one or several, as a list."""
    return [fmt] if isinstance(fmt, str) else [*fmt]


if "mesh-exporter" not in threestudio.__modules__:

    @threestudio.register("mesh-exporter")
    class MeshExporter(MSDMeshExporter):
        """Stands for threestudio's on a host that has none, with its defaults: the full
        surface, OBJ z up.
        """

        @dataclass
        class Config(MSDMeshExporter.Config):
            fmt: Any = "obj-mtl"
            faces: int | None = None
            texture_format: str = "jpg"
            up_obj: str = "z"
