"""Runs loaded to be looked at."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import trimesh
from msd_lab.measure import trained_scene as run
from msd_lab.measure.trained_scene import TrainedScene, run_figures
from msd_lab.measure.views import evaluation_cameras
from threestudio_msd.errors import UserError


def test_a_run_is_seen_by_any_camera(train):
    folder = train("msd-nerf-tiny.yaml", "data.n_cameras=4")
    scene = TrainedScene.load(folder)
    assert scene.prompt == "a red mug"
    cameras = evaluation_cameras(5)
    grey = scene.views(cameras, 12, torch.full((3,), 0.5))
    assert grey.colour.shape == (5, 12, 12, 3)
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


def test_a_named_model_scores_the_mesh_and_needs_one(tmp_path, monkeypatch):
    scene = SimpleNamespace(
        prompt="a dragon", views=lambda *_: SimpleNamespace(colour=torch.zeros(40, 64, 64, 3))
    )
    monkeypatch.setattr(run, "TrainedScene", SimpleNamespace(load=lambda folder: scene))
    monkeypatch.setattr(run, "scene_figures", lambda *_: {"opacity": 0.1})
    monkeypatch.setattr(
        run, "t3_scores", lambda mesh, score: {"t3": float(score(torch.zeros(3, 4, 4, 3))[0])}
    )
    clip = {"clip": Reader(clip_similarity=27.0)}
    with pytest.raises(UserError, match="no mesh was exported, which clip could score"):
        run_figures(tmp_path, clip)
    assert run_figures(tmp_path, {"judge": Reader()}) == {"opacity": 0.1}
    mesh = trimesh.creation.icosphere(2, 0.3)
    (tmp_path / "save/it4-export").mkdir(parents=True)
    mesh.export(tmp_path / "save/it4-export/model.glb")
    found = run_figures(tmp_path, clip)
    assert found["t3_clip"] == 27.0
    assert {"mesh_psnr", "mesh_watertight"} <= set(found)
    with pytest.raises(UserError, match="a reader reads no prompt"):
        run_figures(tmp_path, {"inception": Reader()})
