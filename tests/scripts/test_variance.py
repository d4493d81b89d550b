"""`scripts/variance.py` as a command, on a random pipeline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.fixture
def small(random_pipeline):
    """Settings of runs that are over at once."""
    settings = [
        *("data.height=16", "data.width=16", "data.eval_height=16", "data.eval_width=16"),
        f"system.prompt_processor.pretrained_model_name_or_path={random_pipeline}",
    ]
    return ",".join(settings)


def test_every_method_is_drawn_at_the_first_ones_renders(script, runs_here, small, tmp_path, monkeypatch):
    monkeypatch.setattr("msd_lab.compare.variance.SETTLING", 2)
    short = tmp_path / "msd.yaml"
    config = (CONFIGS / "msd-tiny.yaml").read_text(encoding="utf-8")
    short.write_text(config.replace("max_steps: 160", "max_steps: 8"), encoding="utf-8")
    methods = [
        f"msd={short},{small},system.guidance.sampler.steps=4",
        *(f"{m}=configs/{m}-tiny.yaml,{small}" for m in ("vsd", "sdi")),
    ]
    words = ["--configs", *methods, "--prompts", "a red mug", "--seeds", 1, "--particles", 1, "--draws", 3]
    said = script("variance", *words, "--out", tmp_path)
    assert "± is the deviation over 1 seeds, 3 draws a render." in said
    found = json.loads((tmp_path / "variance.json").read_text())
    assert list(found) == ["msd", "vsd", "sdi"]
    assert [seeds[0]["nfe"] for seeds in found["vsd"]] == [3.0] * 4
    assert found["msd"][0][0]["nfe"] == 8
    assert len(list(tmp_path.glob("**/done.json"))) == 1
    assert (tmp_path / "tables.md").read_text() in said


def test_what_the_user_can_mend(script, tmp_path):
    words = ["--configs", "configs/msd-tiny.yaml", "--prompts", "a red mug", "--out", tmp_path]
    assert "--draws: expected 3 or more" in script("variance", *words, "--draws", 1, status=2)
