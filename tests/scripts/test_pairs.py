"""`scripts/pairs.py` on a small random pipeline: real runs, two steps long, judged beside samples."""

from __future__ import annotations

import json

SIZES = [f"data.{name}=16" for name in ("width", "height", "eval_width", "eval_height")]


def test_every_pair_is_run_sampled_and_judged(script, runs_here, random_pipeline, tmp_path):
    model = f"system.prompt_processor.pretrained_model_name_or_path={random_pipeline}"
    words = ["--every", 95, "--particles", 2, "--max-steps", 2, "--steps", 2, "--out", tmp_path / "out"]
    settings = [model, *SIZES, "system.guidance.sampler.steps=4", "system.guidance.refresh_every=1"]
    text = script("pairs", *words, "--json", tmp_path / "pairs.json", *settings)
    assert "2 optimiser steps, 16 NFE an image" in text
    assert "judge a: its own accuracy" in text
    assert "judge b: its own accuracy" in text
    written = json.loads((tmp_path / "pairs.json").read_text())
    assert written["about"]["nfe"] == 16
    for read in written["accuracy"].values():
        for kinds in read.values():
            assert sum(heads["both"]["images"] for heads in kinds.values()) == 4
