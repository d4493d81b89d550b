"""`scripts/evaluate.py`; that its figures are the comparison's: test_compare.py."""

from __future__ import annotations

from omegaconf import OmegaConf
from PIL import Image


def test_evaluate_says_what_it_looked_for(script, tmp_path):
    assert "error: features clip" in script("evaluate", tmp_path, "--features", f"clip={tmp_path}", status=2)


def test_a_3d_run_without_its_option_is_refused(script, tmp_path):
    run = tmp_path / "deep/run"
    for folder in ("configs", "save/it4-test"):
        (run / folder).mkdir(parents=True)
    config = {"seed": 0, "system": {"renderer_type": "x", "prompt_processor": {"prompt": "a red mug"}}}
    OmegaConf.save(OmegaConf.create(config), run / "configs/parsed.yaml")
    Image.new("RGB", (48, 16)).save(run / "save/it4-test/0.png")
    for words in ([run], [tmp_path], [run / "save"], [run, "--prompt", "a cat"]):
        told = script("evaluate", *words, status=2)
        assert told == f"error: {run}: a text-to-3D run: measure its scene by --three-d, one run a folder\n"
