"""Initial shapes of a scene."""

from __future__ import annotations

import io
import math
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import threestudio
import torch
import trimesh
from msd_lab.measure.instruments import FOLDER, Archive, fetch
from msd_lab.measure.meshes import load_mesh
from threestudio_msd.errors import UserError
from threestudio_msd.files import write_whole
from threestudio_msd.scene.shapes import signed_distance


def settings(shape, params, up="+z", front="+x"):
    return SimpleNamespace(
        shape_init=shape, shape_init_params=params, shape_init_mesh_up=up, shape_init_mesh_front=front
    )


def surface(**changes):
    """The surface of a fresh grid."""
    settings = {"sizes": [8, 24], "init_scale": 0.0, "isosurface_resolution": 32}
    settings["isosurface_threshold"] = 10 * math.log(2)  # sharpness softplus(0): the shape itself
    mesh = threestudio.find("msd-multiscale-grid")({**settings, **changes}).isosurface()
    return trimesh.Trimesh(mesh.v_pos.numpy(), mesh.t_pos_idx.numpy())


def test_a_sphere_is_exact_and_an_ellipsoid_is_zero_on_its_surface():
    points = torch.tensor([[0.5, 0, 0], [0, 0, 0], [0, 0, 0.2]])
    assert signed_distance(points, settings("sphere", 0.3)).tolist() == pytest.approx([0.2, -0.3, -0.1])
    assert signed_distance(points, settings("ellipsoid", [0.5, 0.3, 0.2])).tolist() == pytest.approx(
        [0, -0.2, 0], abs=1e-6
    )


def test_a_mesh_is_inside_where_its_box_is(tmp_path):
    trimesh.creation.box((2, 4, 6)).export(tmp_path / "box.obj")
    points = torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    found = signed_distance(points, settings(f"mesh:{tmp_path}/box.obj", 0.45))
    beyond = points.abs() - torch.tensor([0.15, 0.3, 0.45])
    exact = beyond.clamp(min=0).norm(dim=-1) + beyond.amax(-1).clamp(max=0)
    assert (found - exact)[exact.abs() > 0.03].abs().max() < 0.02


@pytest.mark.parametrize("suffix", ["glb", "obj", "ply"])
def test_a_grid_begins_with_a_mesh_scaled_and_turned(tmp_path, suffix):
    trimesh.creation.box((2, 6, 4)).export(tmp_path / f"box.{suffix}")  # y up, z to the front
    box = surface(
        shape_init=f"mesh:{tmp_path}/box.{suffix}",
        shape_init_params=0.45,
        shape_init_mesh_up="+y",
        shape_init_mesh_front="+z",
    )
    assert box.extents.tolist() == pytest.approx([0.6, 0.3, 0.9], abs=0.05)
    assert box.volume == pytest.approx(0.6 * 0.3 * 0.9, rel=0.12)


GRADIO = Archive(
    "gradio",
    "gradio-6.31.0-py3-none-any.whl",
    "7b50b9b6a2d23cd02851ad4c8b1c8312c88d8b911d1f29c93f9761c98348a64a",
)
"""A package with meshes that other programs made: Khronos's duck as a GLB, Stanford's bunny as an OBJ."""


@pytest.fixture(scope="module")
def real():
    """A folder with the package's meshes, which are fetched once."""
    folder = FOLDER.with_name("gradio")
    if not folder.is_dir():
        try:
            wheel = zipfile.ZipFile(io.BytesIO(fetch(GRADIO)))
        except UserError as error:
            pytest.skip(str(error))
        for name in ("Duck.glb", "Bunny.obj"):
            save = wheel.read(f"gradio/media_assets/models3d/{name}")
            write_whole(folder / name, lambda path, save=save: path.write_bytes(save))
    return folder


@pytest.mark.parametrize("name", ["Duck.glb", "Bunny.obj"])
def test_a_real_mesh_is_a_beginning_and_is_read_upright(real, name):
    mesh = load_mesh(real / name)  # z up, x to the front
    largest = np.abs(mesh.vertices - mesh.vertices.mean(0)).max()
    begun = surface(
        shape_init=f"mesh:{real / name}",
        shape_init_params=0.5,
        shape_init_mesh_up="+y",
        shape_init_mesh_front="+z",
    )
    assert begun.extents == pytest.approx(mesh.extents * 0.5 / largest, abs=0.06)
    assert begun.center_mass[2] == pytest.approx(
        ((mesh.center_mass - mesh.vertices.mean(0)) * 0.5 / largest)[2], abs=0.06
    )


def test_a_grid_begins_with_a_sphere_or_an_ellipsoid():
    assert surface(shape_init="sphere", shape_init_params=0.4).extents.tolist() == pytest.approx(
        [0.8] * 3, abs=0.05
    )
    long = surface(shape_init="ellipsoid", shape_init_params=[0.5, 0.3, 0.2])
    assert long.extents.tolist() == pytest.approx([1, 0.6, 0.4], abs=0.05)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("sphere", None), "shape_init_params: sphere needs a number, got None"),
        (("ellipsoid", [1, 2]), "shape_init_params: ellipsoid needs three numbers"),
        (("mesh:no.obj", 1.0), "shape_init: no.obj"),
        (("mesh:a.obj", 1.0, "+z", "-z"), "two different axes"),
    ],
)
def test_what_cannot_be_a_shape_is_one_line(changes, message):
    with pytest.raises(UserError, match=message):
        signed_distance(torch.zeros(1, 3), settings(*changes))


def test_an_unknown_shape_is_refused():
    with pytest.raises(ValueError, match="shape_init must be sphere, ellipsoid or mesh:FILE, got 'cube'"):
        threestudio.find("msd-multiscale-grid")({"shape_init": "cube"})
