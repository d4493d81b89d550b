"""`scripts/compare_3d.py` as a command; what it measures is in `lab/compare/test_scene.py`."""

from __future__ import annotations

import json

import pytest
from msd_lab.compare import scene as comparison

SMALL = ",".join(
    [
        *("system.geometry.sizes=[4]", "system.renderer.num_samples_per_ray=8", "data.batch_size=2"),
        *(
            "data.height=8",
            "data.width=8",
            "data.eval_height=8",
            "data.eval_width=8",
            "data.cameras_per_round=2",
        ),
    ]
)
METHOD = f"A=lab/msd_lab/configs/truth-nerf-tiny.yaml,{SMALL}"


@pytest.fixture
def figures(monkeypatch):
    """Of every scene, in the place of those that 40 pictures give."""
    made = {"iou": 0.5, "l1": 0.1, "frechet": 3.0}
    monkeypatch.setattr(comparison, "run_figures", lambda folder: made)
    monkeypatch.setattr(comparison, "scene_figures", lambda scene, prompt, judges: made)
    return made


def test_scenes_are_made_measured_and_shown_and_kept(script, runs_here, figures, tmp_path):
    words = [
        "--configs",
        METHOD,
        "--prompts",
        "a red mug",
        "--seeds",
        1,
    ]
    said = script("compare_3d", *words, "--share", 0.01, "--out", tmp_path)
    assert "| A | 1 | 0.500 |" in said
    assert str(tmp_path / "index.html") in said
    (one,) = json.loads((tmp_path / "results.json").read_text())["A"].values()
    assert one["figures"]["seconds"] > 0
    assert one["figures"].keys() > figures.keys()
    made = [(path, path.stat().st_mtime_ns) for path in tmp_path.glob("**/done.json")]
    script("compare_3d", *words, "--share", 0.01, "--out", tmp_path)
    assert [(path, path.stat().st_mtime_ns) for path in tmp_path.glob("**/done.json")] == made != []


def test_a_failed_run_is_told_by_the_status(script, monkeypatch, tmp_path):
    monkeypatch.setattr(comparison, "run_all", lambda runs, execute: dict.fromkeys(runs, "it failed"))
    words = [
        "--configs",
        METHOD,
        "--prompts",
        "a red mug",
        "--seeds",
        1,
    ]
    script("compare_3d", *words, "--out", tmp_path, status=1)
    assert (tmp_path / "index.html").is_file()
