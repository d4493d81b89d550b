"""A finished text-to-3D run, loaded to be looked at: what is measured and drawn of a
scene.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import threestudio
import torch
import trimesh
from threestudio.systems.base import BaseLift3DSystem
from threestudio.utils.config import load_config
from threestudio.utils.misc import load_module_weights
from threestudio_msd.errors import UserError
from torch import Tensor

from ..tinyworld.judge import JUDGES, load_judge
from ..tinyworld.render import Cameras
from .features import Features
from .images import blamed
from .meshes import census, load_mesh, render_mesh
from .scene import Views, psnr, scene_figures
from .t3bench import Score, t3_scores
from .views import GREY, SIZE, evaluation_cameras

MESHES = (".glb", ".obj", ".ply")
AT_ONCE = 4  # views rendered together


@dataclass(frozen=True)
class TrainedScene:
    """The scene of a run at a checkpoint.

    Attributes:
        folder: The run's.
        system: threestudio's system, whose geometry, material, background and renderer
            are loaded.
        step: Optimiser steps done.
    """

    folder: Path
    system: Any
    step: int

    @classmethod
    def load(cls, folder: Path, checkpoint: str = "last.ckpt") -> TrainedScene:
        """Load a run's scene; neither prompt nor guidance are.

        Raises:
            UserError: The folder holds no run, or the run no scene.
        """
        config, weights = folder / "configs" / "parsed.yaml", folder / "ckpts" / checkpoint
        for path in (config, weights):
            if not path.is_file():
                raise UserError(
                    f"{folder}: no finished text-to-3D run: {path.relative_to(folder)} is missing"
                )
        with blamed(config):
            cfg = load_config(str(config))
            kind = threestudio.find(cfg.system_type)
        if not issubclass(kind, BaseLift3DSystem):
            raise UserError(f"{folder}: {cfg.system_type} has no scene that could be rendered")
        system = kind(cfg.system, resumed=True)
        with blamed(weights):
            system.load_weights(str(weights))
            step = load_module_weights(str(weights), map_location="cpu")[2]
        return cls(folder, system.eval(), step)

    @property
    def prompt(self) -> str:
        return str(self.system.cfg.prompt_processor.get("prompt", ""))

    @torch.no_grad()
    def views(self, cameras: Cameras, size: int, background: Tensor) -> Views:
        """Render it on a plain background `[3]`; see `Views`."""
        parts = [
            self._render(cameras[start : start + AT_ONCE], size, background)
            for start in range(0, len(cameras), AT_ONCE)
        ]
        return Views(*(torch.cat(part).float().cpu() for part in zip(*parts, strict=True)))

    def _render(self, cameras: Cameras, size: int, background: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        device = next(self.system.geometry.parameters()).device
        position = cameras.position.to(device)
        directions = cameras.rays(size).to(device)
        out = self.system.renderer(
            rays_o=position[:, None, None].expand_as(directions),
            rays_d=directions,
            light_positions=position,
            bg_color=background.to(device).expand(len(cameras), 3),
        )
        opacity = out["opacity"]
        return out["comp_rgb"].clamp(0, 1), opacity[..., 0], (out["depth"] / opacity.clamp(min=1e-5))[..., 0]

    @torch.no_grad()
    def density(self, points: int) -> Tensor:
        """The density on a lattice over the scene's box, `[points] * 3`."""
        low, high = self.system.geometry.bbox.cpu()
        axis = [torch.linspace(a, b, points) for a, b in zip(low.tolist(), high.tolist(), strict=True)]
        lattice = torch.stack(torch.meshgrid(*axis, indexing="ij"), -1).reshape(-1, 3)
        chunks = [
            self.system.geometry.forward_density(chunk.to(low.device)) for chunk in lattice.split(2**17)
        ]
        return torch.cat(chunks)[:, 0].view(points, points, points).cpu()


def exported_mesh(folder: Path, step: int) -> Path | None:
    """The mesh that a run exported at a step, the last one written; None where it
    exported none at all.

    Raises:
        UserError: It exported meshes at other steps only: they are not of this scene.
    """
    meshes = [path for path in folder.glob("save/it*-export/[!.]*") if path.suffix in MESHES]
    exports = {path.parent.name: path for path in sorted(meshes, key=lambda path: path.stat().st_mtime_ns)}
    if exports and f"it{step}-export" not in exports:
        raise UserError(
            f"{folder}: the scene is at step {step}, its meshes are not ({', '.join(sorted(exports))}): "
            "export it again by launch.py --export, or remove them"
        )
    return exports.get(f"it{step}-export")


def run_figures(folder: Path, features: Mapping[str, Features] | None = None) -> dict[str, float]:
    """All figures of a run's scene, see `scene_figures`, and of its mesh, where one was
    exported.

    Args:
        folder: The run's.
        features: Models that say how well pictures show the prompt, for a prompt
            without a truth; by name.

    Returns:
        By name; `mesh_psnr`, in dB, is how well pictures of the mesh match those of the
        field.

    Raises:
        UserError: The folder holds no finished run, its meshes are of other steps, or a
            model is to score a mesh that is not there.
    """
    scene = TrainedScene.load(folder)
    path = exported_mesh(folder, scene.step)
    own = {folder.name for folder in JUDGES.values()}  # these score the field's views
    scorers = {name: model for name, model in (features or {}).items() if name not in own}
    if path is None and scorers:
        raise UserError(f"{folder}: no mesh was exported, which {', '.join(scorers)} could score")
    mesh = None if path is None else load_mesh(path, written_up(scene.system.cfg, path))
    found = scene_figures(scene, scene.prompt, [load_judge(name) for name in JUDGES])
    return found if mesh is None else found | mesh_figures(mesh, scene, scorers)


def written_up(system: Any, path: Path) -> str | None:
    """The axis that is up in a mesh file of threestudio's own exporter, which writes OBJ z up without a word;
    None for other files, whose readers know it.
    """
    silent = system.exporter_type == "mesh-exporter" and path.suffix == ".obj"
    return system.exporter.get("up_obj", "z") if silent else None


def mesh_figures(
    mesh: trimesh.Trimesh, scene: TrainedScene, scorers: Mapping[str, Features]
) -> dict[str, float]:
    cameras, background = evaluation_cameras(), torch.full((3,), GREY)
    drawn = render_mesh(mesh, cameras, SIZE, background)
    found = {"mesh_psnr": psnr(drawn, scene.views(cameras, SIZE, background).colour)}
    found |= {f"mesh_{name}": n for name, n in census(mesh).items()}
    for name, model in scorers.items():
        scores = t3_scores(mesh, scorer(model, scene.prompt))
        found |= {f"{figure}_{name}": value for figure, value in scores.items()}
    return found


def as_lines(figures: Mapping[str, float]) -> str:
    """Write figures one a line, large ones in full.

    >>> print(as_lines({"iou": 0.59123, "mesh_faces": 89232.0}))
    iou                    0.5912
    mesh_faces             89,232
    """
    style = {name: ",.0f" if abs(value) >= 1000 else ".4g" for name, value in figures.items()}
    return "\n".join(f"{name:22} {value:{style[name]}}" for name, value in figures.items())


def scorer(model: Features, prompt: str) -> Score:
    """How well pictures show a prompt, as a model sees it.

    Raises:
        UserError: It does not read prompts.
    """
    if not model.alignment(torch.zeros(1, SIZE, SIZE, 3), [prompt]):
        raise UserError(f"--features: {model.description} reads no prompt")
    return lambda images: next(iter(model.alignment(images, [prompt] * len(images)).values()))
