"""`scripts/judge.py` on true renders and on what is none."""

from __future__ import annotations

import json

import pytest
from PIL import Image
from threestudio_msd.tinyworld.render import true_renders


@pytest.fixture(scope="module")
def script(load_script):
    return load_script("judge")


@pytest.fixture
def mugs(tmp_path):
    folder = tmp_path / "images" / "deep"
    folder.mkdir(parents=True)
    for i, image in enumerate(true_renders("a red mug, front view", 4, seed=0)):
        Image.fromarray((image * 255).round().byte().numpy()).save(folder / f"{i}.png")
    return tmp_path / "images"


def test_true_renders_are_judged_right(script, mugs, tmp_path, capsys):
    out = tmp_path / "judged.json"
    assert script.main([str(mugs), "--prompt", "a red mug", "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "'a red mug', 4 images: object 100.0 %, colour 100.0 %, both 100.0 %" in printed
    assert "fresh renders (recorded)" in printed
    found = json.loads(out.read_text())
    assert found["accuracy"] == {"object": 1.0, "colour": 1.0, "both": 1.0}
    assert found["judge"]["recorded"]["object"] >= 0.98
    assert [row["object"] for row in found["verdicts"]] == ["mug"] * 4


def test_another_prompt_is_not_met(script, mugs, capsys):
    assert script.main([str(mugs / "deep" / "0.png"), "--prompt", "a blue mug"]) == 0
    assert "1 images: object 100.0 %, colour 0.0 %, both 0.0 %" in capsys.readouterr().out


def test_verify_measures_the_judge_now(script, mugs, capsys):
    assert script.main([str(mugs), "--prompt", "a red mug", "--verify", "24"]) == 0
    assert "on 24 fresh renders (measured)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda folder: folder / "absent", "does not exist"),
        (lambda folder: folder, "no PNG"),
        (
            lambda folder: Image.new("RGB", (64, 32)).save(folder / "wide.png") or folder,
            "single square images",
        ),
        (lambda folder: (folder / "text.png").write_text("no image") and folder, "is not an image"),
    ],
)
def test_bad_paths_are_one_clear_line(script, tmp_path, capsys, make, told):
    assert script.main([str(make(tmp_path)), "--prompt", "a red mug"]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_prompts_outside_the_world_are_refused(script, mugs, capsys):
    assert script.main([str(mugs), "--prompt", "a red zebra"]) == 2
    assert "names no object" in capsys.readouterr().err
