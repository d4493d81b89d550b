"""Meshes as pictures and in numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh
from msd_lab.measure.meshes import census, load_mesh, render_mesh
from msd_lab.measure.views import evaluation_cameras
from msd_lab.tinyworld.render import Cameras
from PIL import Image
from threestudio_msd.errors import UserError


def ball(radius=0.4, colour=(255, 0, 0, 255)):
    mesh = trimesh.creation.icosphere(4, radius)
    mesh.visual.vertex_colors = np.tile(np.array(colour, np.uint8), (len(mesh.vertices), 1))
    return mesh


def test_a_ball_covers_the_disc_that_it_should():
    degrees = torch.tensor([60.0])
    camera = Cameras(torch.zeros(1), torch.tensor([30.0]), torch.tensor([2.0]), degrees)
    image = render_mesh(ball(), camera, 64, torch.ones(3))[0]
    assert torch.equal(image[0, 0], torch.ones(3))
    assert torch.allclose(image[32, 32], torch.tensor([1.0, 0, 0]))
    apparent = 0.4 / (4 - 0.16) ** 0.5 / torch.deg2rad(degrees / 2).tan()  # radius, in halves of the picture
    covered = (image[..., 1] < 0.5).float().mean()
    assert covered.item() == pytest.approx((torch.pi * apparent**2 / 4).item(), rel=0.04)


def test_the_nearer_surface_hides_the_other():
    inner = ball(0.2, (0, 0, 255, 255))
    both = trimesh.util.concatenate([inner, ball()])
    cameras = evaluation_cameras(2)
    middle = render_mesh(both, cameras, 32, torch.ones(3))[:, 16, 16]
    assert torch.equal(middle, torch.tensor([[1.0, 0, 0]] * 2))


def test_meshes_come_back_from_files(tmp_path):
    for name in ("ball.obj", "ball.glb"):
        ball().export(tmp_path / name)
        assert load_mesh(tmp_path / name).visual.vertex_colors[0].tolist() == [255, 0, 0, 255]
    (tmp_path / "none.obj").write_text("# nothing\n")
    for name in ("none.obj", "missing.glb"):
        with pytest.raises(UserError, match=name):
            load_mesh(tmp_path / name)


def test_a_census_counts_parts_and_holes():
    whole = ball()
    assert census(whole) == {"watertight": 1.0, "components": 1.0, "faces": len(whole.faces)}
    apart = trimesh.util.concatenate([whole, whole.copy().apply_translation([3, 0, 0])])
    assert census(apart)["components"] == 2
    whole.update_faces(np.arange(len(whole.faces)) > 0)
    assert census(whole)["watertight"] == 0


def test_a_texture_is_drawn_between_its_vertices():
    mesh = trimesh.Trimesh(
        [[0, -0.5, -0.5], [0, 0.5, -0.5], [0, 0.5, 0.5], [0, -0.5, 0.5]], [[0, 1, 2], [0, 2, 3]]
    )
    image = Image.new("RGB", (2, 2), (0, 0, 255))
    image.putpixel((0, 0), (255, 0, 0))  # the upper left
    material = trimesh.visual.material.SimpleMaterial(image=image)
    uv = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    mesh.visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
    camera = Cameras(torch.zeros(1), torch.zeros(1), torch.tensor([1.5]), torch.tensor([50.0]))
    drawn = render_mesh(mesh, camera, 32, torch.ones(3))[0]
    assert torch.allclose(drawn[8, 8], torch.tensor([1.0, 0, 0]), atol=0.02)
    assert torch.allclose(drawn[24, 24], torch.tensor([0.0, 0, 1]), atol=0.02)
    assert torch.allclose(drawn[8, 24], torch.tensor([0.0, 0, 1]), atol=0.02)
