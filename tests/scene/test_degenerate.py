"""What cannot be rendered, trained or exported is told in one line, and nothing is lost."""

from __future__ import annotations

import math

import pytest
import threestudio
import torch
from msd_lab.measure.meshes import load_mesh

import launch

TINY = ("data.cameras_per_round=4", "trainer.max_steps=2")


def told(capsys):
    """The one line that a failed run prints."""
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    return line


def export(run):
    """Export a run's mesh; returns the exit status."""
    config, checkpoint = run / "configs" / "parsed.yaml", run / "ckpts" / "last.ckpt"
    return launch.main(["--config", str(config), "--export", f"resume={checkpoint}"])


def test_an_unknown_geometry_is_named(train, capsys):
    train("msd-nerf-tiny.yaml", "system.geometry_type=msd-multiscale-gird", status=2)
    assert "system.geometry_type" in (line := told(capsys))
    assert "msd-multiscale-grid" in line


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("data.fovy_range=[0,0]", "data.fovy_range: expected two ascending numbers above 0 and below 180"),
        (
            "data.camera_distance_range=[0,1]",
            "data.camera_distance_range: expected two ascending numbers above 0",
        ),
        ("data.batch_size=3", "cameras_per_round must be a multiple of batch_size = 3"),
    ],
)
def test_cameras_that_cannot_be_are_one_line(train, capsys, setting, message):
    train("msd-nerf-tiny.yaml", *TINY, setting, status=2)
    assert message in told(capsys)


@pytest.fixture(scope="module")
def opaque(train_once):
    """A run of a ball that nothing shines through, with three cameras a batch."""
    ball = ("system.geometry.density_blob_scale=1000", "system.geometry.density_blob_std=1e6")
    return train_once("msd-nerf-tiny.yaml", *TINY, *ball, "data.cameras_per_round=6", "data.batch_size=3")


def test_a_batch_of_three_trains(opaque):
    assert (opaque / "ckpts" / "last.ckpt").is_file()


@pytest.mark.parametrize(
    "cameras",
    [
        {"elevation_range": [90.0, 90.0], "camera_distance_range": [1.5, 2.0]},
        {"elevation_range": [-90.0, -90.0], "camera_distance_range": [1.5, 2.0]},
        {"elevation_range": [0.0, 0.0], "camera_distance_range": [0.01, 0.01]},
    ],
    ids=["straight above", "straight below", "inside"],
)
def test_cameras_at_the_poles_and_inside_the_scene_see_something(cameras):
    data = threestudio.find("random-camera-datamodule")(
        {"height": 12, "width": 12, "batch_size": 2, "camera_perturb": 0.0, "center_perturb": 0.0}
        | {"up_perturb": 0.0, **cameras}
    )
    data.setup("fit")
    batch = data.train_dataset.collate(None)
    rotation = batch["c2w"][:, :3, :3]
    assert torch.allclose(rotation @ rotation.mT, torch.eye(3).expand(2, 3, 3), atol=1e-4)
    geometry = threestudio.find("msd-multiscale-grid")({"sizes": [4, 8]})
    parts = {"geometry": geometry, "material": threestudio.find("no-material")({})}
    background = threestudio.find("solid-color-background")({})
    renderer = threestudio.find("nerf-volume-renderer")(
        {"radius": 0.68, "num_samples_per_ray": 32, "grid_prune": False}, background=background, **parts
    )
    out = renderer(**batch)
    out["comp_rgb"].sum().backward()
    assert out["opacity"][:, 5:7, 5:7].min() > 0.5
    assert all(torch.isfinite(grid.grad).all() for grid in geometry.grids)


def test_an_empty_volume_trains_and_cannot_be_exported(train, capsys):
    run = train("msd-nerf-tiny.yaml", *TINY, "system.geometry.density_blob_std=0.001")
    assert len(list((run / "save" / "it2-test").glob("*.png"))) == 2
    saved = (run / "ckpts" / "last.ckpt").read_bytes()
    capsys.readouterr()
    assert export(run) == 2
    assert "never crosses 4: there is no surface to export" in told(capsys)
    assert (run / "ckpts" / "last.ckpt").read_bytes() == saved


def test_an_opaque_volume_trains_and_its_mesh_is_the_ball(opaque):
    assert export(opaque) == 0
    mesh = load_mesh(opaque / "save" / "it2-export" / "model.glb")
    assert mesh.vertices.max() == pytest.approx(0.68, abs=0.06)


def test_densities_that_are_no_numbers_stop_a_run_and_leave_its_last_checkpoint(train, capsys, monkeypatch):
    from threestudio_msd.scene.grid import MultiscaleGrid

    whole, calls = MultiscaleGrid._field_inside, []

    def spoilt(self, points, radius):
        calls.append(len(points))
        return whole(self, points, radius) * (math.nan if len(calls) > 8 and self.training else 1.0)

    monkeypatch.setattr(MultiscaleGrid, "_field_inside", spoilt)
    settings = ("trainer.max_steps=40", "checkpoint.every_n_train_steps=2", "trainer.val_check_interval=40")
    run = train("msd-nerf-tiny.yaml", *TINY, *settings, status=1)
    line = told(capsys)
    assert "density holds NaN" in line
    assert "is intact" in line
    assert (run / "ckpts" / "last.ckpt").is_file()
