"""Cameras that come again."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
import threestudio
import torch
from threestudio_msd.scene.cameras import CameraDataModuleConfig

SMALL = {"height": 8, "width": 8, "eval_height": 8, "eval_width": 8, "n_cameras": 6, "batch_size": 2}


def module(**changes):
    made = threestudio.find("msd-camera-datamodule")({**SMALL, **changes})
    made.setup()
    return made


def batches(data, count):
    loader = iter(data.train_dataloader())
    return [next(loader) for _ in range(count)]


def test_every_camera_comes_once_a_round_with_its_index():
    seen = batches(module(), 6)
    assert torch.cat([batch["index"] for batch in seen[:3]]).sort().values.tolist() == list(range(6))
    for first, again in zip(seen[:3], seen[3:], strict=True):
        for name in ("index", "rays_d", "azimuth", "mvp_mtx", "light_positions"):
            assert torch.equal(first[name], again[name])


def test_azimuths_cover_the_circle_and_a_batch_sees_opposite_sides():
    (batch, *_) = seen = batches(module(), 3)
    azimuth = torch.cat([one["azimuth"] for one in seen]).sort().values
    assert (azimuth.diff() < 120).all()
    apart = (batch["azimuth"][1] - batch["azimuth"][0]) % 360
    assert 120 < apart < 240


def test_cameras_depend_on_their_own_seed_alone_and_leave_the_global_one():
    torch.manual_seed(1)
    random.seed(1)
    before = torch.get_rng_state(), random.getstate()
    made = module(seed=3)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    one = batches(made, 1)[0]
    torch.manual_seed(2)
    assert torch.equal(batches(module(seed=3), 1)[0]["c2w"], one["c2w"])
    assert not torch.equal(batches(module(seed=4), 1)[0]["c2w"], one["c2w"])


def test_a_resumed_run_goes_on_with_the_cameras_that_are_due():
    data = module()
    data.trainer = SimpleNamespace(global_step=2, accumulate_grad_batches=2)
    assert torch.equal(batches(data, 1)[0]["index"], batches(module(), 5)[4]["index"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_cameras": 5}, "n_cameras must be a multiple of batch_size = 2, got 5"),
        ({"batch_size": 0, "n_cameras": 0}, "batch_size"),
        ({"height": [8, 16]}, "height, width and batch_size must be numbers"),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        CameraDataModuleConfig(**{**SMALL, **changes})
