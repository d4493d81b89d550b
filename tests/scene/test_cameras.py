"""Cameras that come again."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
import threestudio
import torch
from threestudio_msd.errors import UserError
from threestudio_msd.scene.cameras import CameraDataModuleConfig

SMALL = {"height": 8, "width": 8, "eval_height": 8, "eval_width": 8, "cameras_per_round": 6, "batch_size": 2}


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


def test_every_round_has_cameras_of_its_own_and_visits_each_so_often():
    seen = batches(module(rounds=2, refresh_every=2), 14)
    assert [batch["round"] for batch in seen] == [0] * 6 + [1] * 8  # the last round's cameras stay
    assert [batch["index"].tolist() for batch in seen[:6]] == [
        batch["index"].tolist() for batch in seen[6:12]
    ]
    assert torch.equal(seen[0]["c2w"], seen[3]["c2w"])
    assert not torch.equal(seen[0]["c2w"], seen[6]["c2w"])
    assert torch.equal(seen[6]["c2w"], seen[12]["c2w"])
    assert torch.equal(seen[0]["c2w"], batches(module(), 1)[0]["c2w"])  # one round is the same cameras always


def test_a_fit_has_rays_of_all_cameras_that_meet_the_ball():
    fits = batches(module(rounds=2, refresh_every=2, rays_per_fit=500, rays_within=0.5), 4)
    assert [fit["round"] for fit in fits] == [0, 0, 1, 1]
    assert not torch.equal(fits[0]["rays"], fits[1]["rays"])
    for fit in fits:
        assert fit["index"].tolist() == list(range(6))
        distance = torch.linalg.cross(fit["rays_o"], fit["rays_d"]).norm(dim=-1).flatten()
        assert (distance[fit["rays"]] < 0.5).all()
        assert fit["rays_per_view"] == (distance < 0.5).sum() / 6
        assert set((fit["rays"] // 64).tolist()) == set(range(6))
    with pytest.raises(UserError, match=r"data\.rays_within: no ray meets"):
        batches(module(rays_per_fit=5, rays_within=1e-6), 1)


def test_the_former_name_of_the_number_of_cameras_is_read():
    assert CameraDataModuleConfig(**{**SMALL, "n_cameras": 2}).cameras_per_round == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cameras_per_round": 5}, "cameras_per_round must be a multiple of batch_size = 2, got 5"),
        ({"batch_size": 0, "cameras_per_round": 0}, "batch_size"),
        ({"rounds": 0}, "rounds must be at least 1, got 0"),
        ({"height": [8, 16]}, "height, width and batch_size must be numbers"),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        CameraDataModuleConfig(**{**SMALL, **changes})
