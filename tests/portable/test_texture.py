"""Meshes with textures."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import threestudio
import torch
import trimesh
from msd_lab.measure.meshes import census, load_mesh, surface_samples
from threestudio.models.mesh import Mesh
from threestudio.models.texture import barycentric, covered, paint, unwrap
from threestudio.utils.config import ConfigError
from threestudio.utils.saving import SaverMixin


def ball(subdivisions=3):
    mesh = trimesh.creation.icosphere(subdivisions, 0.5)
    return Mesh(torch.tensor(mesh.vertices).float(), torch.tensor(mesh.faces))


def colour(points):
    return 0.5 + 0.4 * torch.sin(6 * points)


def test_barycentric_weights_add_up_and_point_back():
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(3, 3, 2, generator=generator)
    weights = torch.rand(3, 5, 3, generator=generator)
    weights = weights / weights.sum(-1, keepdim=True)
    points = (weights[..., None] * corners[:, None]).sum(2)
    assert torch.allclose(barycentric(points, corners), weights, atol=1e-4)
    assert (barycentric(points, corners[:, :1].expand(3, 3, 2)) < 0).all()


def test_two_triangles_cover_the_square_once():
    uv = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    pixel, face, weights = covered(uv, torch.tensor([[0, 1, 2], [0, 2, 3]]), 16)
    assert set(pixel.tolist()) == set(range(256))
    assert len(pixel) <= 256 + 16  # the diagonal belongs to both
    assert torch.allclose(weights.sum(-1), torch.ones(len(pixel)), atol=1e-5)
    assert set(face[(pixel % 16 > 12) & (pixel // 16 > 12)].tolist()) == {0}  # the lower right


@pytest.mark.parametrize("fmt", ["glb", "obj"])
def test_a_textured_mesh_comes_back_with_its_colours(tmp_path, fmt):
    pytest.importorskip("xatlas")
    mesh = unwrap(ball(), {}, {"padding": 2})
    assert 0 <= mesh.uv.min() <= mesh.uv.max() <= 1
    mesh.texture = paint(mesh, 256, colour)
    saver = SaverMixin()
    saver.set_save_dir(str(tmp_path))
    saver.save_mesh_file(f"model.{fmt}", mesh)
    files = {path.name for path in tmp_path.iterdir()}
    assert files == ({"model.glb"} if fmt == "glb" else {"model.obj", "model.mtl", "model_kd.jpg"})
    back = load_mesh(tmp_path / f"model.{fmt}")
    assert census(back)["watertight"] == 1
    points, found = surface_samples(back, 4000)
    psnr = -10 * math.log10(float((found - colour(points)).square().mean()))
    assert psnr > 30


def test_normals_stay_smooth_over_seams():
    pytest.importorskip("xatlas")
    mesh = unwrap(ball(), {}, {})
    assert (mesh.v_nrm * mesh.v_pos / 0.5).sum(-1).min() > 0.99


def test_without_xatlas_it_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "xatlas", None)
    with pytest.raises(ConfigError, match=r"pip install xatlas"):
        unwrap(ball(), {}, {})


def test_an_unknown_option_is_named():
    pytest.importorskip("xatlas")
    with pytest.raises(ConfigError, match=r"xatlas_pack_options\.colour: xatlas has no such option"):
        unwrap(ball(1), {}, {"colour": 1})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fmt": "stl"}, "fmt must be one of obj-mtl, obj, glb"),
        ({"texture_format": "bmp"}, "texture_format must be jpg or png"),
        ({"texture_size": 0}, "texture_size must be at least 1"),
    ],
)
def test_what_cannot_be_exported_is_refused(change, message):
    parts = dict.fromkeys(("geometry", "material", "background"), torch.nn.Identity())
    with pytest.raises(ValueError, match=message):
        threestudio.find("mesh-exporter")(change, **parts)


def test_a_volume_is_exported_with_a_texture():
    pytest.importorskip("xatlas")
    geometry = threestudio.find("volume-grid")({"grid_size": [8, 8, 8], "isosurface_resolution": 16})
    material = threestudio.find("no-material")({})
    parts = {"geometry": geometry, "material": material, "background": torch.nn.Identity()}
    for fmt, save_uv, textured in (("obj-mtl", True, True), ("glb", False, False), ("obj", True, False)):
        exporter = threestudio.find("mesh-exporter")(
            {"fmt": fmt, "save_uv": save_uv, "texture_size": 64}, **parts
        )
        (out,) = exporter()
        mesh = out.params["mesh"]
        assert out.save_name == ("model.glb" if fmt == "glb" else "model.obj")
        assert (mesh.texture is not None) == textured
        assert (mesh.v_rgb is not None) != textured
        if textured:
            assert np.isfinite(mesh.texture.numpy()).all()
