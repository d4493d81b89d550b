"""`scripts/sample.py`: images are kept, and what it needs is named."""

from __future__ import annotations

MODEL = "system.prompt_processor.pretrained_model_name_or_path"


def test_sample_keeps_what_is_there_and_names_what_it_needs(script, random_pipeline, tmp_path):
    words = [
        "--config",
        "configs/msd-tiny.yaml",
        "--prompts",
        "a red mug",
        "--steps",
        2,
        "--particles",
        2,
        "--out",
        tmp_path,
    ]
    model = f"{MODEL}={random_pipeline}"
    assert "2 images" in script("sample", *words, model)
    first = {path: path.stat().st_mtime_ns for path in tmp_path.glob("**/*.png")}
    assert "4 images" in script("sample", *words, model, "--seeds", 2)
    assert {path: path.stat().st_mtime_ns for path in first} == first
    assert "error: " in script("sample", *words, f"{MODEL}={tmp_path}", status=2)
