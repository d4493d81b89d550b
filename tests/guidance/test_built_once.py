"""A run builds sampler and bandwidth once, and reads and checks its guidance's settings once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from threestudio_msd import checks, settings
from threestudio_msd.assets_path import asset
from threestudio_msd.guidance import keys

import launch

CONFIG = Path(__file__).parents[1] / "data" / "v0" / "run.yaml"
ONCE = [(settings, "_made"), (keys, "_adopted"), (checks, "_check_system")]


@pytest.fixture
def calls(monkeypatch):
    """How often a function wrapped in `once` ran, by name and class."""
    counted = Counter()

    def counting(function):
        def call(cls, *arguments):
            counted[function.__name__, cls.__name__] += 1
            return function(cls, *arguments)

        return call

    for module, name in ONCE:
        inner = getattr(module, name).__wrapped__
        monkeypatch.setattr(module, name, settings.once(counting(inner)))
    return counted


def test_a_run_builds_each_part_once(calls, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tiny-prior").symlink_to(asset("tiny-prior"))
    assert launch.main(["--config", str(CONFIG), "--train", "trainer.max_steps=1"]) == 0
    assert calls == {
        ("_made", "Split"): 1,
        ("_made", "Adaptive"): 1,
        ("_adopted", "MSDGuidance"): 1,
        ("_check_system", "MSDGuidance"): 1,
    }
