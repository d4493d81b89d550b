"""Feature extractors, on weights made here."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from msd_lab.measure.features import CLIPFeatures, InceptionFeatures, JudgeFeatures, read_features
from msd_lab.tinyworld.judge import Judge, save_judge
from threestudio_msd.errors import UserError


def test_clip_similarity_is_the_cosine_times_100(clip):
    features = CLIPFeatures(clip)
    images = torch.rand(3, 20, 20, 3, generator=torch.Generator().manual_seed(0))
    vectors = features(images)
    assert vectors.shape == (3, 12)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    prompts = ["a red mug", "a cat", "something longer than the text encoder reads"]
    together = features.alignment(images, prompts)["clip_similarity"]
    assert np.abs(together).max() <= 100
    # an image and its prompt stand for themselves
    alone = [
        features.alignment(images[i : i + 1], prompts[i : i + 1])["clip_similarity"][0] for i in range(3)
    ]
    assert together == pytest.approx(alone, abs=1e-3)
    assert "32 px" in features.description


def test_clip_that_cannot_be_had_says_how_to_get_it(tmp_path):
    with pytest.raises(UserError, match=r"cannot be loaded.*hf download"):
        CLIPFeatures(str(tmp_path))


def test_judge_reads_prompts_and_gives_its_features(tmp_path):
    torch.manual_seed(0)
    judge = Judge("convolutions", width=4, features=8)
    judge.heads["object"].bias.data[-1] = -100.0  # it never says that there is nothing
    record = {"trunk": "convolutions", "width": 4, "features": 8, "accuracy": {"object": 0.5, "colour": 0.25}}
    save_judge(judge, tmp_path, record)
    features = JudgeFeatures(str(tmp_path))
    images = torch.rand(5, 64, 64, 3)
    assert features(images).shape == (5, 8)
    verdict = features.judge.classify(images)
    prompts = [f"a {colour} {name}" for colour, name in zip(verdict.colour, verdict.object, strict=True)]
    assert features.alignment(images, prompts)["alignment"].tolist() == [1] * 5
    other = "cat" if verdict.object[0] != "cat" else "car"
    found = features.alignment(images[:1], [f"a {verdict.colour[0]} {other}"])
    assert {name: values.tolist() for name, values in found.items()} == {
        "alignment": [0],
        "object": [0],
        "colour": [1],
    }
    assert "object 50.0 %" in features.description
    judge.heads["object"].bias.data[-1] = 100.0
    save_judge(judge, tmp_path, record)
    blind = JudgeFeatures(str(tmp_path))
    assert blind.judge.classify(images).object == ["nothing"] * 5
    assert blind.alignment(images, prompts)["alignment"].tolist() == [0] * 5
    for read in (features.check_prompts, lambda prompts: features.alignment(images[:1], prompts)):
        with pytest.raises(UserError, match="names no object"):
            read(["a red hamburger"])


def test_a_missing_judge_is_told(tmp_path):
    with pytest.raises(UserError, match="no judge in"):
        JudgeFeatures(str(tmp_path))


def test_the_second_judge_is_a_judge_of_its_own_name(tmp_path):
    one, other = read_features(["judge", "second-judge"]).values()
    images = torch.rand(2, 64, 64, 3)
    assert one(images).shape == other(images).shape
    assert np.abs(one(images) - other(images)).max() > 0.1
    with pytest.raises(UserError, match="features second-judge: no judge in"):
        read_features(["judge", f"second-judge={tmp_path}"])


def test_inception_without_weights_and_library_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    monkeypatch.setattr("msd_lab.measure.features.INCEPTION", Path("nowhere"))
    with pytest.raises(UserError, match="python -m msd_lab instruments`, or install torch-fidelity"):
        InceptionFeatures()
