"""The batched networks against a plain one, particle by particle."""

from __future__ import annotations

import itertools
import math

import pytest
import threestudio
import torch
import torch.nn.functional as F
from threestudio_msd.image.encodings import FourierEncoding, HashGridEncoding
from threestudio_msd.image.mlp import ImageMLP

FOURIER = {"encoding_type": "msd-fourier-encoding", "encoding": {"n_frequencies": 8, "scale": 2.0}}
# the finest levels have more vertices than entries, so they are hashed
HASHGRID = {"encoding_type": "msd-hashgrid-encoding", "encoding": {"n_levels": 4, "log2_hashmap_size": 6}}
ENCODINGS = pytest.mark.parametrize("encoding", [FOURIER, HASHGRID], ids=["fourier", "hashgrid"])


def images(particles, encoding=FOURIER, **changes):
    return threestudio.find("msd-image-mlp")(
        {"n_particles": particles, "width": 16, "init_scale": 1.0, **encoding, **changes}
    )


def points(count=50):
    return torch.rand(count, 2, generator=torch.Generator().manual_seed(0))


def naive_fourier(encoding: FourierEncoding, particle: int, point: torch.Tensor) -> torch.Tensor:
    angles = [2 * math.pi * (b[0] * point[0] + b[1] * point[1]) for b in encoding.frequencies[particle].T]
    return torch.stack([torch.cos(a) for a in angles] + [torch.sin(a) for a in angles])


def naive_hashgrid(encoding: HashGridEncoding, particle: int, point: torch.Tensor) -> torch.Tensor:
    cfg, features, offset = encoding.cfg, [], 0
    for level in range(cfg.n_levels):
        resolution = int(cfg.base_resolution * cfg.per_level_scale**level)
        size = min((resolution + 1) ** 2, 2**cfg.log2_hashmap_size)
        x, y = (float(v) * resolution for v in point)
        left, top = min(math.floor(x), resolution - 1), min(math.floor(y), resolution - 1)
        total = 0
        for dx, dy in itertools.product((0, 1), (0, 1)):
            i, j = left + dx, top + dy
            dense = (resolution + 1) ** 2 <= 2**cfg.log2_hashmap_size
            entry = i + j * (resolution + 1) if dense else (i ^ (j * 2654435761)) % size
            weight = (1 - abs(x - i)) * (1 - abs(y - j))
            total = total + weight * encoding.tables[particle, offset + entry]
        features.append(total)
        offset += size
    return torch.cat(features)


def naive(model: ImageMLP, particle: int, point: torch.Tensor) -> torch.Tensor:
    encode = naive_fourier if isinstance(model.encoding, FourierEncoding) else naive_hashgrid
    x = encode(model.encoding, particle, point)
    for layer in model.hidden:
        x = F.relu(layer.weight[particle].T @ x + layer.bias[particle, 0])
    return torch.sigmoid(model.output.weight[particle].T @ x + model.output.bias[particle, 0])


@ENCODINGS
def test_values_and_gradients_equal_those_of_plain_networks(encoding):
    model, coordinates = images(3, encoding), points(12)
    if encoding is HASHGRID:
        torch.nn.init.normal_(model.encoding.tables)
        hashed = [
            size < (r + 1) ** 2
            for size, r in zip(model.encoding.sizes, model.encoding.resolutions, strict=True)
        ]
        assert hashed == [False, False, True, True]
    weights = torch.randn(3, 12, 3)
    fast = model(coordinates)
    slow = torch.stack([torch.stack([naive(model, p, point) for point in coordinates]) for p in range(3)])
    assert torch.allclose(fast, slow, atol=1e-5)
    parameters = list(model.parameters())
    for a, b in zip(
        *(torch.autograd.grad((out * weights).sum(), parameters) for out in (fast, slow)), strict=True
    ):
        assert torch.allclose(a, b, atol=1e-4)
        assert a.abs().max() > 0


@ENCODINGS
def test_a_particle_is_the_same_whatever_the_number_of_particles(encoding):
    many, few = images(5, encoding), images(2, encoding)
    for (name, a), (_, b) in zip(many.state_dict().items(), few.state_dict().items(), strict=True):
        assert torch.equal(a[:2], b), name
    assert torch.allclose(many(points())[:2], few(points()), atol=1e-6)


@ENCODINGS
def test_particles_and_seeds_differ(encoding):
    model = images(3, encoding)
    assert not torch.equal(model.output.weight[0], model.output.weight[1])
    assert not torch.equal(model.output.weight, images(3, encoding, seed=1).output.weight)
    assert torch.equal(model.output.weight, images(3, encoding).output.weight)


@ENCODINGS
def test_no_gradient_leaks_between_particles(encoding):
    model = images(4, encoding)
    model(points())[2].sum().backward()
    for name, parameter in model.named_parameters():
        others = parameter.grad[[0, 1, 3]]
        assert not others.any(), name
        assert parameter.grad[2].any(), name


@ENCODINGS
def test_index_selects_particles(encoding):
    model = images(4, encoding)
    assert torch.allclose(model(points(), torch.tensor([3, 1])), model(points())[[3, 1]], atol=1e-6)


def test_starts_from_the_grey_asked_for():
    out = images(2, init_grey=0.3, init_scale=0.0)(points())
    assert torch.allclose(out, torch.tensor(0.3), atol=1e-6)


@pytest.mark.parametrize(
    "bad",
    [{"n_particles": 0}, {"width": -1}, {"init_grey": 1.0}, {"init_scale": -1.0}, {"activation": "rellu"}],
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(
        ValueError, match=next(iter(bad.values())) if "activation" in bad else next(iter(bad))
    ):
        ImageMLP({"n_particles": 1, **bad})
