"""`scripts/train_prior.py`: every stage, in seconds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from lab.training.stand_ins import Pixels
from msd_lab.tinyworld import probe
from msd_lab.tinyworld.world import VIEWS, VOCABULARY
from msd_lab.training import classifiers, measures
from msd_lab.training.card import judge_tables, prior_tables
from msd_lab.training.prior import load_prior
from safetensors.torch import load_file


@pytest.fixture(scope="module")
def script(load_script):
    return load_script("train_prior")


def weights(out: Path) -> dict:
    return {
        f"{path.parent.name}/{key}": tensor
        for path in out.rglob("*.safetensors")
        for key, tensor in load_file(path).items()
    }


@pytest.fixture
def rendered(renders, monkeypatch):
    """Renders of captions for measures are taken from those that there are, of the object and the view."""

    def find(captions, seed):
        known = [(caption.object, caption.view) for caption in renders.captions]
        alike = ([i for i, own in enumerate(known) if own == (c.object, c.view or own[1])] for c in captions)
        return renders[torch.tensor([rows[seed % len(rows)] for rows in alike])]

    monkeypatch.setattr(measures, "render_captions", find)


def test_quick_run_makes_every_asset_and_again_the_same(script, tmp_path, capsys, monkeypatch, rendered):
    for name, stages in (("one", ["all"]), ("two", ["judges", "vae", "unet"])):  # measuring makes no weights
        if name == "two":  # renders that come again are another test's
            for images in (tmp_path / "one-cache").glob("images-*"):
                (tmp_path / "two-cache").mkdir(exist_ok=True)
                shutil.copy(images, tmp_path / "two-cache")
        folders = ["--out", str(tmp_path / name), "--cache", str(tmp_path / f"{name}-cache")]
        assert [script.main(["--quick", "--stage", stage, *folders]) for stage in stages] == [0] * len(stages)
    out = tmp_path / "one"
    assert {path.name for path in out.iterdir()} == {
        "tiny-prior",
        "judge",
        "second-judge",
        "README.md",
        "figures.json",
        "sample_sheet.png",
    }
    assert not json.loads((out / "tiny-prior" / "vae" / "config.json").read_text())["_name_or_path"]
    words = json.loads((out / "tiny-prior" / "vocabulary.json").read_text())
    assert words == {name: list(known) for name, known in VOCABULARY.items()}
    assert load_prior(out / "tiny-prior").unet.config.sample_size == 16
    figures = json.loads((out / "figures.json").read_text())
    for judge in ("a", "b"):
        assert figures["pairs"]["1"]["seen"][judge]["images"] == 84
        assert figures["pairs"]["1"]["held out"][judge]["images"] == 12
        assert set(figures["views"]["w = 1"][judge]["views"]) == set(VIEWS)
    printed = capsys.readouterr().out
    assert "| object right | " in printed
    for text in (prior_tables(figures), judge_tables(figures)):
        assert text in printed
        assert text in (out / "README.md").read_text()
    one, two = weights(out), weights(tmp_path / "two")
    assert one.keys() == two.keys()
    assert all(one[key].equal(two[key]) for key in one)

    for module in (probe, classifiers):
        monkeypatch.setattr(module, "load_backbone", Pixels)
    folders = ["--out", str(out), "--cache", str(tmp_path / "one-cache")]
    assert [script.main(["--quick", "--stage", stage, *folders]) for stage in ("probe", "sdedit")] == [0, 0]
    card = (out / "README.md").read_text()
    for row in ("true renders", "through the autoencoder", "the same, from t = 500 back", "samples, w = 3"):
        assert f"\n| {row} | " in card


def test_a_smoke_run_cannot_overwrite_what_ships(script, capsys):
    assert script.main(["--quick"]) == 2
    assert "give it its own --out" in capsys.readouterr().err


def test_measuring_what_is_not_there_is_one_clear_line(script, tmp_path, capsys):
    status = script.main(
        ["--quick", "--stage", "sheet", "--out", str(tmp_path), "--cache", str(tmp_path / "c")]
    )
    assert status == 2
    assert "no pipeline in" in capsys.readouterr().err
