"""Text to 3D in rounds, by a random tiny Stable Diffusion: targets, the loss, and resuming."""

from __future__ import annotations

import csv
import shutil
from types import SimpleNamespace

import pytest
import torch
from threestudio_msd.guidance.host_calls import HostCalls
from threestudio_msd.guidance.rounds import Round, background_of
from threestudio_msd.scene.system import chosen_rays

ROUNDS = (
    *("data.rounds=3", "data.cameras_per_round=4", "data.refresh_every=2", "data.rays_per_fit=40"),
    *("trainer.max_steps=6", "trainer.log_every_n_steps=1", "checkpoint.every_n_train_steps=3"),
    "trainer.val_check_interval=6",
)
OTHERS = (  # a baseline's config in the same rounds
    *("data_type=msd-camera-datamodule", "data.rays_within=0.68"),
    "trainer.val_check_interval=6",
)
METHODS = {"msd": ROUNDS, "sdi": (*ROUNDS, *OTHERS, "system.guidance.inversion_n_steps=2")}


def weights(run):
    return torch.load(run / "ckpts" / "last.ckpt", weights_only=True)["state_dict"]


def logged(run, name):
    with open(next(run.glob("csv_logs/*/metrics.csv"))) as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


@pytest.fixture(scope="module", params=METHODS)
def trained(request, train_once):
    """Three rounds of two fits, by an estimator each."""
    method = request.param
    return method, train_once(f"{method}-nerf-tiny.yaml", *METHODS[method], tag="rounds")


def test_networks_are_evaluated_at_the_start_of_a_round_alone(trained):
    method, run = trained
    nfe = logged(run, "train/nfe")
    assert 0 < nfe[0] == nfe[1] < nfe[2] == nfe[3] < nfe[4] == nfe[5]
    if method == "msd":
        assert nfe[::2] == [4, 8, 12]  # two batches of views, two branches
        assert logged(run, "train/bandwidth") == pytest.approx([12, 12, 1.92, 1.92, 0.78, 0.78])


def test_a_run_killed_within_a_round_resumes_to_the_bit(trained, train, tmp_path):
    method, run = trained
    shutil.copytree(run.parents[1], tmp_path / "outputs")
    (middle,) = tmp_path.glob(f"outputs/{run.parent.name}/rounds/ckpts/*step=3.ckpt")
    saved = torch.load(middle, weights_only=True)["guidance"]
    assert saved["round"] == 1
    assert sorted(saved["round_images"]) == [0, 1, 2, 3]
    resumed = weights(train(f"{method}-nerf-tiny.yaml", *METHODS[method], f"resume={middle}", tag="rounds"))
    unbroken = weights(run)
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)


def test_a_method_whose_estimates_cannot_be_held_is_refused(train, capsys):
    train("vsd-nerf-tiny.yaml", *ROUNDS, *OTHERS, status=2)
    assert "data.rays_per_fit: expected 0 with msd-vsd-guidance" in capsys.readouterr().err


def test_all_rays_of_all_views_give_the_loss_of_whole_views():
    """Half the squared distance a view, each target on its own background."""
    draw = torch.Generator().manual_seed(0)
    targets, foreground, opacity = (torch.rand(3, 4, 4, c, generator=draw) for c in (3, 3, 1))
    held = Round()
    held.put([5, 6, 7], targets, {"grad_norm": 1.0})
    rays = torch.arange(3 * 16)
    layers = [layer.flatten(0, 2)[:, None, None] for layer in (foreground, opacity)]
    guidance = SimpleNamespace(round=held, name="x", nfe=0.0)
    found = HostCalls.fit_rays(guidance, layers, torch.tensor([5, 6, 7]), rays, 16.0)
    renders = foreground + (1 - opacity) * background_of(targets)[:, None, None]
    whole = 0.5 * (renders - targets).square().sum() / 3
    assert float(found["loss_x"]) == pytest.approx(float(whole), rel=1e-5)
    assert found["grad_norm"] == 1.0


def test_values_of_a_round_are_means_over_its_views():
    held = Round()
    held.put([0, 1, 2], torch.zeros(3, 2, 2, 3), {"sigma": 1.0})
    held.put([3], torch.zeros(1, 2, 2, 3), {"sigma": 5.0})
    assert held.values == {"sigma": 2.0}


def test_a_background_is_the_median_of_the_border():
    image = torch.full((1, 6, 6, 3), 0.7)
    image[0, 1:5, 1:5] = 0.1
    image[0, 0, 2:5] = 0.2  # what touches the border
    assert torch.equal(background_of(image), torch.full((1, 3), 0.7))


def test_chosen_rays_are_the_pixels_own():
    origins = torch.arange(2 * 3 * 4 * 3.0).view(2, 3, 4, 3)
    lights = torch.tensor([[0.0, 0, 1], [1.0, 0, 0]])
    batch = {
        "rays_o": origins,
        "rays_d": -origins,
        "light_positions": lights,
        "rays": torch.tensor([0, 12, 23]),
    }
    rays = chosen_rays(batch)
    assert rays["rays_o"].shape == (3, 1, 1, 3)
    assert torch.equal(
        rays["rays_o"][:, 0, 0], torch.stack([origins[0, 0, 0], origins[1, 0, 0], origins[1, 2, 3]])
    )
    assert torch.equal(rays["light_positions"], lights[[0, 1, 1]])
