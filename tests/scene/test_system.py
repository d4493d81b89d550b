"""Text to 3D from the config to picture, video, mesh and checkpoint."""

from __future__ import annotations

import csv
import shutil
from types import SimpleNamespace

import imageio.v3 as iio
import pytest
import torch
from msd_lab.measure.meshes import load_mesh, surface_samples
from omegaconf import OmegaConf
from PIL import Image
from threestudio_msd.errors import NonFiniteError, UserError
from threestudio_msd.scene import SceneMixin

import launch
from launcher.viewer import Look

MSD = (
    *("data.rays_per_fit=0", "data.rounds=1", "data.cameras_per_round=4", "data.refresh_every=2"),
    "trainer.log_every_n_steps=1",
    *("checkpoint.every_n_train_steps=2", "trainer.val_check_interval=4"),
)


def logged(run):
    with open(next(run.glob("csv_logs/*/metrics.csv"))) as file:
        return [row for row in csv.DictReader(file) if row["train/loss_msd"]]


@pytest.fixture(scope="module")
def run(train_once):
    """Four steps: two batches of two cameras, twice."""
    return train_once("msd-nerf-tiny.yaml", *MSD)


def weights(run):
    return torch.load(run / "ckpts" / "last.ckpt", weights_only=True)["state_dict"]


def test_a_run_leaves_pictures_a_turn_and_a_mesh(run):
    assert Image.open(run / "save" / "it4-0.png").size == (32, 16)  # colour and opacity
    assert len(iio.imread(run / "save" / "it4-test.mp4")) == 2
    config, checkpoint = run / "configs" / "parsed.yaml", run / "ckpts" / "last.ckpt"
    for fmt in ("glb", "obj"):
        export = ["--config", str(config), "--export", f"resume={checkpoint}"]
        assert launch.main([*export, f"system.exporter.fmt={fmt}"]) == 0
        mesh = load_mesh(run / "save" / "it4-export" / f"model.{fmt}")
        assert surface_samples(mesh, 1000)[1].std(0).max() > 0


def test_targets_are_kept_for_each_camera(run):
    calls = [float(row["train/nfe"]) for row in logged(run)]
    assert calls == [2, 4, 4, 4]  # two batches of two cameras, each estimated at its first visit of two
    state = torch.load(run / "ckpts" / "last.ckpt", weights_only=True)["guidance"]
    assert sorted(state["kept"]) == [0, 1, 2, 3]


def test_a_resumed_run_ends_bit_for_bit_where_an_unbroken_one_does(run, train, tmp_path):
    shutil.copytree(run.parents[1], tmp_path / "outputs")  # a run is resumed in its folder
    (half,) = tmp_path.glob("outputs/*/run/ckpts/*step=2.ckpt")
    resumed = weights(train("msd-nerf-tiny.yaml", *MSD, f"resume={half}"))
    unbroken = weights(run)
    assert unbroken.keys() == resumed.keys()
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)


class Page:
    """A browser that looks from +x, in the place of viser's page."""

    def __init__(self, port, start, can_hold):
        assert (port, can_hold) == (8123, True)
        self.paused, self.shown, self.height, self.held, self.pictures = False, "normal", 8, None, []

    def looks(self):
        return {0: Look((0.5, -0.5, -0.5, 0.5), (1.7, 0.0, 0.0), 1.0, 1.0)}

    def show(self, client, picture):
        self.pictures.append(picture)

    def tell(self, figures):
        assert {"step", "loss_msd", "bandwidth"} <= set(figures)

    def close(self):
        assert self.pictures


def test_a_run_that_is_watched_is_the_same_run(run, train, monkeypatch):
    monkeypatch.setattr("launcher.viewer.ViserPage", Page)
    monkeypatch.setattr("launcher.checks.config.is_importable", lambda module: True)
    alone, watched = weights(run), weights(train("msd-nerf-tiny.yaml", *MSD, "--viewer", "8123"))
    assert all(torch.equal(alone[name], watched[name]) for name in alone)


class Host:
    """What the mixin stands before."""

    true_global_step = 0

    def __init__(self, geometry, **loss):
        self.geometry, self.logged = geometry, {}
        self.cfg = OmegaConf.create({"geometry_type": "some-volume", "loss": loss})

    def training_step(self, batch, batch_idx):
        return {"loss": torch.tensor(1.0)}

    def C(self, value):
        return value

    def log(self, name, value):
        self.logged[name] = value


class Guarded(SceneMixin, Host):
    pass


def test_total_variation_is_weighed_and_not_computed_where_it_is_off():
    varied = SimpleNamespace(total_variation=lambda: torch.tensor(3.0))
    assert Guarded(varied, lambda_tv=2.0).training_step({}, 0)["loss"] == 7
    assert Guarded(object(), lambda_tv=0.0).training_step({}, 0)["loss"] == 1
    assert Guarded(object()).training_step({}, 0)["loss"] == 1
    with pytest.raises(UserError, match=r"system\.loss\.lambda_tv: some-volume has no total variation"):
        Guarded(object(), lambda_tv=1.0).training_step({}, 0)


def test_a_loss_that_is_no_number_stops_the_run():
    nan = SimpleNamespace(total_variation=lambda: torch.tensor(torch.nan))
    with pytest.raises(NonFiniteError, match="loss at step 0"):
        Guarded(nan, lambda_tv=1.0).training_step({}, 0)
