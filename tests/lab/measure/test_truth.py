"""The truth in a prior's place."""

from __future__ import annotations

import pytest
import threestudio
import torch
from msd_lab.measure.truth import TruthGuidance, caption_of
from msd_lab.measure.views import evaluation_cameras, true_views
from msd_lab.tinyworld.world import parse_prompt
from threestudio_msd.errors import UserError


@pytest.fixture(scope="module")
def guidance():
    return threestudio.find("msd-truth-guidance")({"prompt": "a red mug"})


def batch(cameras, **more):
    return {
        "elevation": cameras.elevation,
        "azimuth": cameras.azimuth,
        "camera_distances": cameras.distance,
        "fovy": torch.deg2rad(cameras.fovy),
        **more,
    }


def test_the_loss_pulls_every_pixel_to_the_truth(guidance):
    cameras = evaluation_cameras(2)
    truth = true_views(parse_prompt("a red mug"), cameras, 16)[0]
    rgb = torch.zeros_like(truth).requires_grad_()
    guidance(rgb, **batch(cameras))["loss_truth"].backward()
    assert torch.allclose(rgb.grad, -truth / 2, atol=1e-6)
    assert guidance(truth, **batch(cameras))["loss_truth"] == 0


def test_a_camera_that_comes_again_keeps_its_truth(guidance):
    cameras = evaluation_cameras(3)
    rgb = torch.zeros(3, 16, 16, 3)
    first = guidance(rgb, **batch(cameras, index=torch.tensor([5, 6, 7])))
    assert sorted(guidance.cached) == [5, 6, 7]
    elsewhere = evaluation_cameras(6)[3:]
    again = guidance(rgb, **batch(elsewhere, index=torch.tensor([5, 6, 7])))
    assert first["loss_truth"] == again["loss_truth"]
    assert first["nfe"] == 0


def test_only_the_tiny_world_has_a_truth():
    with pytest.raises(UserError, match=r"system\.guidance\.prompt"):
        caption_of("a dragon made of glass")
    with pytest.raises(UserError, match=r"system\.guidance\.prompt"):
        TruthGuidance.check_experiment({"system": {"guidance": {"prompt": "a dragon"}}})
