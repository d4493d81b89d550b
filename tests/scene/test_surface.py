"""Surfaces made ready for files."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import trimesh
from threestudio_msd.errors import UserError
from threestudio_msd.scene.surface import (
    baked,
    barycentric,
    covered,
    distances,
    pulled_and_pushed,
    simplified,
    unwrapped,
)


def ball(subdivisions=3):
    mesh = trimesh.creation.icosphere(subdivisions, 0.5)
    return np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces)


def colour(points):
    return 0.5 + 0.4 * torch.sin(6 * points)


def test_barycentric_weights_add_up_and_point_back():
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(3, 3, 2, generator=generator)
    weights = torch.rand(3, 5, 3, generator=generator)
    weights = weights / weights.sum(-1, keepdim=True)
    points = (weights[..., None] * corners[:, None]).sum(2)
    found, depth = barycentric(points, corners)
    assert torch.allclose(found, weights, atol=1e-4)
    assert (depth > 0).all()
    assert (barycentric(points, corners[:, :1].expand(3, 3, 2))[1] == -torch.inf).all()
    _, depth = barycentric(torch.tensor([[[1.0, -2], [1, 1]]]), torch.tensor([[[0.0, 0], [4, 0], [0, 4]]]))
    assert depth[0].tolist() == [-2, 1]


def test_two_triangles_cover_the_square_and_pixels_beside_it():
    uv = torch.tensor([[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]])
    pixel, face, weights = covered(uv, torch.tensor([[0, 1, 2], [0, 2, 3]]), 16)
    y, x = pixel // 16, pixel % 16
    assert set(pixel.tolist()) >= {16 * y + x for y in range(3, 13) for x in range(3, 13)}  # 8 a side, and 1
    assert 1 <= torch.stack([x, y]).min() <= torch.stack([x, y]).max() <= 14  # further beside acute corners
    assert len(pixel) - len(pixel.unique()) <= 12  # the diagonal belongs to both
    assert torch.allclose(weights.sum(-1), torch.ones(len(pixel)), atol=1e-5)
    assert weights.min() >= 0
    assert set(face[(x > 9) & (y > 9)].tolist()) == {0}  # the lower right


def test_a_baked_texture_holds_the_functions_colours_to_its_seams():
    vertices, faces = ball()
    origin, faces, uv = unwrapped(vertices, faces, {}, {"padding": 4, "resolution": 256})
    assert 0 <= uv.min() <= uv.max() <= 1
    texture = baked(uv, faces, vertices[origin], 256, colour)
    generator = np.random.default_rng(0)
    weights = generator.dirichlet([0.3, 0.3, 0.3], len(faces))[..., None]  # many near edges
    places = torch.from_numpy((weights * uv[faces]).sum(1)).float() * torch.tensor([2, -2]) - torch.tensor(
        [1, -1]
    )
    found = torch.nn.functional.grid_sample(
        texture.permute(2, 0, 1)[None], places[None, None], padding_mode="border", align_corners=False
    )[0, :, 0].T
    exact = colour(torch.from_numpy((weights * vertices[origin][faces]).sum(1)).float())
    assert -10 * math.log10(float((found - exact).square().mean())) > 40
    assert (found - exact).abs().max() < 0.1


def test_unknown_pixels_become_averages_of_known_ones_near_them():
    image = torch.zeros(1, 2, 5, 6)
    image[0, :, 0, 0], image[0, :, 4, 5] = torch.tensor([3.0, 1.0]), torch.tensor([7.0, 1.0])
    filled = pulled_and_pushed(image)
    assert (filled[0, 0, 0, 0], filled[0, 0, 4, 5]) == (3.0, 7.0)
    assert torch.equal(filled[0, 1], torch.ones(5, 6))
    assert 3 <= filled[0, 0, 0, 1] < 5 < filled[0, 0, 4, 4] <= 7


def test_a_simplified_ball_keeps_its_form_and_its_error_is_the_true_one():
    vertices, faces = ball(5)
    few, moved = simplified(vertices, faces, 1000)
    assert len(few.faces) == 1000
    assert few.is_watertight
    assert few.volume == pytest.approx(math.pi / 6, rel=0.02)
    assert len(moved) == 1000
    assert 0 < moved.mean() < moved.max() < 0.01
    some = vertices[::100]
    nearest = [trimesh.triangles.closest_point(few.triangles, np.tile(point, (1000, 1))) for point in some]
    exact = [np.linalg.norm(near - point, axis=1).min() for near, point in zip(nearest, some, strict=True)]
    assert distances(some, few) == pytest.approx(np.array(exact), abs=1e-4)


def test_an_unknown_option_is_named():
    with pytest.raises(UserError, match=r"xatlas_pack_options\.colour: xatlas has no such option"):
        unwrapped(*ball(1), {}, {"colour": 1})
