"""The judge that ships: accurate on fresh renders, and refusing what it cannot read."""

from __future__ import annotations

import json

import pytest
import torch
from threestudio_msd.tinyworld.data import DataConfig, render_images
from threestudio_msd.tinyworld.judge import (
    HEADS,
    JUDGE_FOLDER,
    Judge,
    degrade,
    load_judge,
    measure_judge,
    save_judge,
)


@pytest.fixture(scope="module")
def judge():
    return load_judge()


def test_right_about_fresh_renders(judge):
    found = measure_judge(judge, views=16, seed=424_242, progress=False)
    assert found["renders"] == 192
    assert found["object"] >= 0.98
    assert found["colour"] >= 0.98


def test_records_its_own_accuracy(judge):
    assert set(judge.accuracy) == {*HEADS, "renders"}
    assert judge.accuracy["renders"] >= 1000
    assert judge.accuracy["object"] >= 0.98
    assert judge.accuracy["colour"] >= 0.98


def test_reads_blurred_and_noisy_renders_too(judge):
    images = render_images(DataConfig(views=16, colours_per_view=1, seed=777), progress=False)
    worse = degrade(images.float, torch.Generator().manual_seed(0)).permute(0, 2, 3, 1)
    logits = judge(worse)
    assert (logits["object"].argmax(-1) == images.object).float().mean() >= 0.9
    assert (logits["colour"].argmax(-1) == images.colour).float().mean() >= 0.95


def test_resizes_and_gives_features_and_names(judge):
    images = torch.rand(3, 96, 96, 3)
    assert judge.features(images).shape == (3, 128)
    verdict = judge.classify(images)
    for head, names in HEADS.items():
        assert set(getattr(verdict, head)) <= set(names)
        assert all(1 / len(names) <= p <= 1 for p in getattr(verdict, f"{head}_probability"))


def test_batch_composition_does_not_matter(judge):
    images = torch.rand(4, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(judge.features(images)[2:3], judge.features(images[2:3]), atol=1e-5)


def test_refuses_other_layouts(judge):
    with pytest.raises(ValueError, match=r"\[n, h, w, 3\]"):
        judge.features(torch.rand(2, 3, 64, 64))


def test_saves_and_loads(tmp_path):
    torch.manual_seed(0)
    judge = Judge(width=4, features=8).eval()
    save_judge(judge, tmp_path, {"width": 4, "features": 8, "accuracy": {"object": 0.5}})
    loaded = load_judge(tmp_path)
    images = torch.rand(2, 64, 64, 3)
    assert torch.allclose(loaded.features(images), judge.features(images), atol=1e-2)
    assert loaded.accuracy == {"object": 0.5}


def test_a_judge_of_another_world_is_refused(tmp_path):
    settings = json.loads((JUDGE_FOLDER / "config.json").read_text())
    settings["heads"]["object"][0] = "zebra"
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "judge.safetensors").write_bytes((JUDGE_FOLDER / "judge.safetensors").read_bytes())
    with pytest.raises(ValueError, match="another world"):
        load_judge(tmp_path)


def test_a_missing_judge_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train_prior\.py"):
        load_judge(tmp_path)
