"""T3Bench's protocol on meshes and scores that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh
from msd_lab.measure import t3bench
from msd_lab.measure.features import CLIPFeatures
from msd_lab.measure.t3bench import cameras_at, corners, normalised, smoothed, t3_scores
from msd_lab.measure.trained_scene import scorer
from msd_lab.measure.views import axes


@pytest.fixture
def box():
    """A box that is red towards +x and blue elsewhere."""
    mesh = trimesh.creation.box((1.0, 2.0, 3.0)).subdivide().subdivide()
    mesh.apply_translation([5.0, 0, 0])
    red = mesh.vertices[:, 0] > 5.49
    mesh.visual.vertex_colors = np.where(red[:, None], [255, 0, 0, 255], [0, 0, 255, 255]).astype(np.uint8)
    return mesh


def test_a_mesh_is_centred_and_scaled(box):
    moved = normalised(box)
    assert np.allclose(moved.vertices.mean(0), 0, atol=1e-6)
    assert np.abs(moved.vertices).max() == pytest.approx(1)
    assert box.vertices[:, 0].min() == 4.5  # the given one stays


def test_cameras_stand_on_the_corners_and_look_at_the_origin():
    sphere = corners()
    assert len(sphere.vertices) == 162
    for corner in sphere.vertices:
        cameras = cameras_at(corner)
        assert cameras.fovy.tolist() == pytest.approx([60, 45, 36, 30, 24])
        assert torch.allclose(cameras.position[0], torch.tensor(corner).float(), atol=1e-5)
        right, up, forward = axes(cameras)[0]
        assert torch.allclose(torch.linalg.cross(right, up), -forward, atol=1e-4)  # at the poles too


def test_a_lone_lucky_view_is_averaged_away():
    sphere = corners()
    lone = np.zeros(162)
    lone[3] = 1.0
    assert smoothed(lone, sphere).max() < 0.3
    assert smoothed(np.full(162, 0.7), sphere) == pytest.approx(0.7)


def test_the_side_that_shows_the_prompt_decides(box, monkeypatch):
    monkeypatch.setattr(t3bench, "POINTS_PER_PIXEL", 4)
    monkeypatch.setattr(t3bench, "SUBDIVISIONS", 1)

    def redness(images):
        return (images[..., 0] - images[..., 2]).mean((1, 2)).numpy()

    found = t3_scores(box, redness, size=16)
    assert found["t3"] > found["t3_mean"] + 0.05
    nothing = t3_scores(box, lambda images: np.full(len(images), 0.3), size=16)
    assert nothing == pytest.approx({"t3": 0.3, "t3_mean": 0.3})


def test_a_named_model_scores_the_views(box, clip, monkeypatch):
    monkeypatch.setattr(t3bench, "POINTS_PER_PIXEL", 2)
    monkeypatch.setattr(t3bench, "SUBDIVISIONS", 0)
    found = t3_scores(box, scorer(CLIPFeatures(clip), "a red box"), size=8)
    assert -100 <= found["t3_mean"] <= 100
    assert np.isfinite(found["t3"])
