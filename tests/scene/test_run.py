"""Runs loaded to be looked at."""

from __future__ import annotations

import pytest
import torch
from threestudio_msd.errors import UserError
from threestudio_msd.evaluation.views import evaluation_cameras
from threestudio_msd.scene.run import TrainedScene


def test_a_run_is_seen_by_any_camera(train):
    run = train("msd-nerf-tiny.yaml", "data.n_cameras=4", "system.guidance.sampler.steps=1")
    scene = TrainedScene.load(run)
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
