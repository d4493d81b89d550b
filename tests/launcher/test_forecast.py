"""Tests that take minutes are told before they start."""

from pathlib import Path

import pytest
import threestudio
import torch

from launcher import forecast
from launcher.config import read

CONFIG = str(Path(__file__).resolve().parents[2] / "configs/msd-nerf-tiny.yaml")
SIZES = (
    *("system.geometry.sizes=[4,8]", "system.renderer.num_samples_per_ray=512"),
    *("data.n_test_views=120", "data.eval_width=192", "data.eval_height=128"),
)


@pytest.fixture(scope="module")
def scene():
    """The data module and the system of a scene with 120 wide views."""
    cfg = read(CONFIG, SIZES)
    return threestudio.find(cfg.data_type)(cfg.data), threestudio.find(cfg.system_type)(cfg.system)


def test_minutes_of_a_test_are_told(scene, monkeypatch, capsys):
    monkeypatch.setattr(forecast, "_seconds", lambda datamodule, renderer: 1e-3)
    forecast.forecast_test(*scene)
    told = "The test renders 120 views of 192 x 128: about 49 minutes on this CPU. data.n_test_views"
    assert capsys.readouterr().out.startswith(told)


def test_short_tests_and_those_on_a_gpu_are_not_measured(scene, monkeypatch, capsys):
    monkeypatch.setattr(forecast, "_seconds", None)
    monkeypatch.setattr(forecast, "MANY", 120 * 192 * 128 * 512 + 1)
    forecast.forecast_test(*scene)
    monkeypatch.setattr(forecast, "MANY", 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    forecast.forecast_test(*scene)
    assert capsys.readouterr().out == ""


def test_measuring_renders_a_part_and_changes_nothing(scene, monkeypatch):
    datamodule, system = scene
    rendered, render = [], type(system.renderer).forward

    def forward(self, rays_o, *args, **kwargs):
        rendered.append(rays_o.shape)
        return render(self, rays_o, *args, **kwargs)

    monkeypatch.setattr(type(system.renderer), "forward", forward)
    before, drawn = {k: v.clone() for k, v in system.state_dict().items()}, torch.get_rng_state()
    forecast.forecast_test(datamodule, system)
    assert rendered == [(1, 32, 48, 3)]
    assert torch.equal(torch.get_rng_state(), drawn) and system.renderer.training
    assert all(torch.equal(value, before[key]) for key, value in system.state_dict().items())
