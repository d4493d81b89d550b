"""One run in two processes on a CPU: the images, the folder and the bar of one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from launcher.folder import STAMP, in_one_folder

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 2e-4  # of parameters in float32, after four steps; batches of another size round differently
LOOSE = ("adapters",)  # where Adam divides a gradient that is all rounding by its own size

IMAGES = ["data.n_particles=4", "trainer.val_check_interval=2", "system.progress_every=2"]
CAMERAS = [
    *(f"data.{size}=16" for size in ("height", "width", "eval_height", "eval_width")),
    *("data.batch_size=2", "data.cameras_per_round=4", "data.n_val_views=2", "data.n_test_views=2"),
    *("trainer.val_check_interval=2", "system.geometry.sizes=[4,8]", "system.renderer.randomized=false"),
]
RUNS = {
    "images": ("msd-tiny", IMAGES),
    "images in groups": (
        "msd-tiny",
        [*IMAGES, "data.batch_size=2", "trainer.accumulate_grad_batches=2", "trainer.val_check_interval=4"],
    ),
    "adapters": ("vsd-tiny", IMAGES),
    "cameras": ("msd-nerf-tiny", CAMERAS),
}


@pytest.fixture
def alone(monkeypatch):
    """As a user starts a run."""
    for name in (STAMP, "LOCAL_RANK", "RANK"):
        monkeypatch.delenv(name, raising=False)


def test_the_first_process_hands_its_time_on(alone, monkeypatch):
    first = in_one_folder({"tag": "a_car"})
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert in_one_folder({"tag": "a_car"}) == first
    assert first["timestamp"] == os.environ[STAMP]


def test_processes_of_another_launcher_share_a_folder_without_a_time(alone, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert in_one_folder({"tag": "a_car"}) == {"tag": "a_car", "timestamp": ""}


@pytest.mark.parametrize("settings", [{"use_timestamp": False}, {"timestamp": "@20250101-000000"}])
def test_a_folder_that_is_given_stays(alone, settings):
    assert in_one_folder(settings) == settings


def launch(folder: Path, config: str, overrides: list[str], processes: int) -> str:
    """Train in `folder/outputs`; what was printed."""
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "launch.py"), "--config", str(ROOT / "configs" / f"{config}.yaml")),
            *("--train", f"trainer.devices={processes}", "tag=run", *overrides),
        ],
        cwd=folder,
        env={
            **{name: value for name, value in os.environ.items() if name != "THREESTUDIO_ROOT"},
            **{"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
        },
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


def the_run(folder: Path, config: str) -> Path:
    (run,) = (folder / "outputs" / config).iterdir()  # one folder
    return run


def results(run: Path) -> dict[str, np.ndarray]:
    """The test's pictures."""
    paths = sorted((run / "save").glob("it4-test/*.png"))
    return {path.name: np.asarray(Image.open(path), dtype=int) for path in paths}


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "ckpts" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("which", RUNS)
def test_two_processes_make_what_one_makes(tmp_path, which):
    config, overrides = RUNS[which]
    overrides = [*overrides, "trainer.max_steps=4"]
    runs = []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        said = launch(folder, config, overrides, processes)
        runs.append(the_run(folder, config))
        assert said.count("host: ") == 1
        assert said.count("train: 100%") == 1  # one bar
    one, two = map(results, runs)
    assert one.keys() == two.keys() != set()
    for name, picture in one.items():
        assert np.abs(picture - two[name]).max() <= 1, name
    for name, value in weights(runs[0]).items() if which not in LOOSE else ():
        torch.testing.assert_close(weights(runs[1])[name], value, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_processes_go_on_where_they_were(tmp_path):
    """Each finds its own particles' targets in the checkpoint that the first has written."""
    length = "system.guidance.trainer_max_steps=4"
    for name, steps in (("whole", [4]), ("parts", [2, 4])):
        folder = tmp_path / name
        folder.mkdir()
        for step in steps:
            resume = [f"resume={the_run(folder, 'msd-tiny')}/ckpts/last.ckpt"] if step != steps[0] else []
            launch(folder, "msd-tiny", [*IMAGES, length, f"trainer.max_steps={step}", *resume], 2)
    whole, parts = (the_run(tmp_path / name, "msd-tiny") for name in ("whole", "parts"))
    for name, value in weights(whole).items():
        assert torch.equal(weights(parts)[name], value)
    kept = torch.load(parts / "ckpts" / "last.ckpt", weights_only=True)["guidance"]["kept"]
    assert sorted(kept) == [0, 1, 2, 3]
