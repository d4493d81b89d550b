"""Images of nothing: solids are where their formulas say, and every kind is images that come again."""

from __future__ import annotations

import pytest
import torch
from msd_lab.tinyworld.render import sample_cameras
from msd_lab.training.negatives import (
    KINDS,
    SOLIDS,
    blurred,
    mixtures,
    negatives,
    other_objects,
    solid_geometry,
)


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def images(renders):
    return renders[:24]


@pytest.mark.parametrize("kind", SOLIDS)
def test_solids_are_seen_whole_and_their_normals_face_the_camera(kind):
    cameras = sample_cameras(6, drawn())
    geometry = solid_geometry(kind, cameras, drawn(1))
    hit = geometry.material != 255
    share = hit.float().mean((1, 2))
    assert (share > 0.01).all()
    assert (share < 0.8).all()
    normal = geometry.normal[hit]
    assert torch.allclose(normal.norm(dim=-1), torch.ones(len(normal)), atol=1e-3)
    towards = (cameras.position[:, None, None] - geometry.position)[hit]
    assert ((normal * towards).sum(-1) >= -1e-3).float().mean() > 0.999


def test_a_ball_is_as_far_from_its_centre_everywhere():
    geometry = solid_geometry("ball", sample_cameras(1, drawn()), drawn(1))
    points = geometry.position[geometry.material != 255]
    normal = geometry.normal[geometry.material != 255]
    # p = c + r n: the spread of p - r n is nothing at the right radius
    spread = [float((points - r * normal).std(0).sum()) for r in torch.linspace(0.2, 0.6, 401)]
    assert min(spread) < 2e-3


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_images_that_differ_and_come_again_from_their_seed(kind, images):
    one, same, other = (negatives(kind, 3, images, drawn(seed)) for seed in (1, 1, 2))
    assert one.shape == (3, 3, 64, 64)
    assert one.min() >= 0
    assert one.max() <= 1
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_blurred_renders_keep_their_light_and_no_edge(images):
    before = images.float
    after = blurred(before, drawn())
    assert (after.mean((1, 2, 3)) - before.mean((1, 2, 3))).abs().max() < 0.02
    assert after.diff(dim=-1).abs().amax() < 0.5 * before.diff(dim=-1).abs().amax()


def test_mixtures_are_of_two_objects_and_neither_alone(images):
    partner = other_objects(images.object, images.object, drawn())
    assert (images.object != images.object[partner]).all()
    one, two = images.float, images[partner].float
    mixed = mixtures(one, two, drawn())
    for part in (one, two):
        assert ((mixed - part).abs().amax((1, 2, 3)) > 0.1).all()
    low, high = torch.minimum(one, two), torch.maximum(one, two)
    assert ((mixed >= low - 1e-5) & (mixed <= high + 1e-5)).all()
