"""A config and a checkpoint of version 0.1.0 (commit 5892459) are still read, and mean what they meant.

`data/v0` was made by its `launch.py --config run.yaml --train`: the checkpoint after 8 of 12 steps,
and the images that its run ended with.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from threestudio_msd.assets_path import asset

import launch

V0 = Path(__file__).with_name("data") / "v0"
CHECKPOINT = "epoch=0-step=8.ckpt"


def pixels(folder: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(folder / f"{i}.png"), dtype=int) for i in range(2)])


@pytest.fixture
def there(tmp_path, monkeypatch):
    """The working directory that the run had."""
    monkeypatch.chdir(tmp_path)
    Path("tiny-prior").symlink_to(asset("tiny-prior"))
    shutil.copytree(V0, "v0")


def test_its_run_goes_on_to_the_same_images(there, caplog):
    overrides = [f"resume=v0/{CHECKPOINT}", "tag=resumed"]
    assert launch.main(["--config", "v0/run.yaml", "--train", *overrides]) == 0
    warned = [record.getMessage() for record in caplog.records if "renamed" in record.getMessage()]
    assert len(warned) == len(set(warned))  # at most one for each thing that was renamed
    found = pixels(Path("outputs/v0/resumed/save/it12-test"))
    assert abs(found - pixels(V0)).max() <= 2


def test_its_checkpoint_can_be_tested(there):
    overrides = [f"resume=v0/{CHECKPOINT}", "tag=tested"]
    assert launch.main(["--config", "v0/run.yaml", "--test", *overrides]) == 0
    assert len(list(Path("outputs/v0/tested/save/it8-test").glob("*.png"))) == 2
