"""Runs loaded to be looked at."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import trimesh
from msd_lab.measure import trained_scene as run
from msd_lab.measure.trained_scene import TrainedScene, as_lines, exported_mesh, run_figures
from msd_lab.measure.views import evaluation_cameras
from threestudio_msd.errors import UserError


def test_a_run_is_seen_by_any_camera(train):
    short = ("trainer.max_steps=1", "trainer.val_check_interval=1", "data.n_test_views=1")
    folder = train("msd-nerf-tiny.yaml", "data.cameras_per_round=4", *short)
    scene = TrainedScene.load(folder)
    assert (scene.prompt, scene.step) == ("a red mug", 1)
    cameras = evaluation_cameras(3)
    grey = scene.views(cameras, 12, torch.full((3,), 0.5))
    assert grey.colour.shape == (3, 12, 12, 3)
    assert 0 < grey.opacity.mean() < 1
    empty = grey.opacity < 1e-3
    assert torch.allclose(grey.colour[empty], torch.tensor(0.5), atol=1e-3)
    opaque = grey.depth[grey.silhouette]
    assert ((opaque > 0.7) & (opaque < 2.8)).all()
    assert scene.density(6).shape == (6, 6, 6)


def test_what_is_no_run_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"no finished text-to-3D run: configs/parsed\.yaml is missing"):
        TrainedScene.load(tmp_path)


class Reader:
    """A model that reads every prompt alike."""

    description = "a reader"

    def __init__(self, **scores):
        self.scores = scores

    def alignment(self, images, prompts):
        return {name: np.full(len(images), value) for name, value in self.scores.items()}


def export(folder, name="it4-export/model.glb", radius=0.3, at=1):
    """A ball as a run's mesh, written at a time."""
    path = folder / "save" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    trimesh.creation.icosphere(2, radius).export(path)
    os.utime(path, (at, at))
    return path


@pytest.fixture
def at_step_100(tmp_path, monkeypatch):
    """A run's folder; its scene is at step 100, and only its mesh is really measured."""
    grey = SimpleNamespace(colour=torch.zeros(40, 64, 64, 3))
    system = SimpleNamespace(cfg=SimpleNamespace(exporter_type="msd-mesh-exporter", exporter={}))
    scene = SimpleNamespace(prompt="a dragon", step=100, views=lambda *_: grey, system=system)
    monkeypatch.setattr(run, "TrainedScene", SimpleNamespace(load=lambda folder: scene))
    monkeypatch.setattr(run, "scene_figures", lambda *_: {"opacity": 0.1})
    monkeypatch.setattr(run, "render_mesh", lambda *_: torch.full((40, 64, 64, 3), 0.1))
    return tmp_path


def test_a_named_model_scores_the_mesh_and_needs_one(at_step_100, monkeypatch):
    monkeypatch.setattr(
        run, "t3_scores", lambda mesh, score: {"t3": float(score(torch.zeros(3, 4, 4, 3))[0])}
    )
    clip = {"clip": Reader(clip_similarity=27.0)}
    with pytest.raises(UserError, match="no mesh was exported, which clip could score"):
        run_figures(at_step_100, clip)
    assert run_figures(at_step_100, {"judge": Reader()}) == {"opacity": 0.1}
    export(at_step_100, "it100-export/model.glb")
    found = run_figures(at_step_100, clip)
    assert found["t3_clip"] == 27.0
    assert found["mesh_psnr"] == pytest.approx(20, abs=1e-3)
    assert found["mesh_watertight"] == 1
    with pytest.raises(UserError, match="a reader reads no prompt"):
        run_figures(at_step_100, {"inception": Reader()})


def test_the_mesh_is_that_of_the_scene_whatever_its_name_and_format(at_step_100):
    export(at_step_100, "it40-export/model.glb", at=9)  # later in the alphabet, and in time
    export(at_step_100, "it1000-export/model.glb", at=9)
    only = export(at_step_100, "it100-export/model.obj", at=1)
    assert exported_mesh(at_step_100, 100) == only
    newer = export(at_step_100, "it100-export/duck.glb", at=2)
    (newer.parent / "duck.png").touch()
    assert exported_mesh(at_step_100, 100) == newer
    again = export(at_step_100, "it100-export/model.ply", at=3)
    assert exported_mesh(at_step_100, 100) == again
    assert run_figures(at_step_100)["mesh_faces"] == 320


@pytest.mark.parametrize(
    ("kind", "settings", "file", "up"),
    [
        ("mesh-exporter", {}, "model.obj", "z"),  # threestudio's own, which says nothing
        ("mesh-exporter", {"up_obj": "y"}, "model.obj", "y"),
        ("mesh-exporter", {}, "model.glb", None),
        ("msd-mesh-exporter", {}, "model.obj", None),
    ],
)
def test_an_obj_of_threestudios_own_exporter_is_z_up(kind, settings, file, up):
    cfg = SimpleNamespace(exporter_type=kind, exporter=settings)
    assert run.written_up(cfg, Path(file)) == up


def test_figures_are_readable():
    lines = as_lines({"iou": 0.59123, "frechet": 565.94, "mesh_faces": 89232.0, "floaters": float("nan")})
    assert [line.split()[1] for line in lines.splitlines()] == ["0.5912", "565.9", "89,232", "nan"]


def test_a_mesh_of_another_step_is_refused(at_step_100):
    export(at_step_100, "it40-export/model.glb")
    with pytest.raises(UserError, match=r"step 100, its meshes are not \(it40-export\): export it again"):
        run_figures(at_step_100)
