"""Meshes as pictures and in numbers."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import torch
import trimesh
from msd_lab.measure.meshes import census, load_mesh, render_mesh, surface_samples
from msd_lab.measure.views import evaluation_cameras
from msd_lab.tinyworld.render import Cameras
from PIL import Image
from threestudio_msd.errors import UserError
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial, SimpleMaterial


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


def box(visual=None):
    mesh = trimesh.creation.box((0.5, 0.6, 0.7))
    if visual is not None:
        mesh.visual = visual
    return mesh


def coloured(colour=(10, 20, 30, 255)):
    mesh = box()
    mesh.visual.vertex_colors = np.tile(np.array(colour, np.uint8), (len(mesh.vertices), 1))
    return mesh


def textured(material):
    return box(TextureVisuals(uv=np.full((8, 2), 0.5), material=material))


def with_json(path, change, version=2):
    """Change the JSON of a GLB of a coloured box."""
    whole = coloured().export(file_type="glb")
    length = struct.unpack("<I", whole[12:16])[0]
    described, rest = json.loads(whole[20 : 20 + length]), whole[20 + length :]
    change(described)
    text = json.dumps(described).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4sIIII", b"glTF", version, 20 + len(text) + len(rest), len(text), 0x4E4F534A)
    path.write_bytes(head + text + rest)


def material(described, **settings):
    described["materials"] = [settings]
    described["meshes"][0]["primitives"][0]["material"] = 0


PICTURE = Image.new("RGB", (2, 2), (200, 100, 50))
HALF = [128, 255, 255, 255]


LINEAR = (55.8, 79.2, 95.9)  # 10, 20 and 30 of 255 as linear light, encoded by hand


@pytest.mark.parametrize(
    ("make", "colour"),
    [
        (lambda path: textured(PBRMaterial(baseColorFactor=HALF)).export(path / "a.glb"), (188, 255, 255)),
        (lambda path: textured(PBRMaterial()).export(path / "a.glb"), (255, 255, 255)),
        (lambda path: textured(SimpleMaterial(diffuse=[0, 255, 0, 255])).export(path / "a.obj"), (0, 255, 0)),
        (lambda path: with_json(path / "a.glb", lambda a: material(a, name="plain")), LINEAR),
        (
            lambda path: with_json(
                path / "a.glb",
                lambda a: material(a, pbrMetallicRoughness={"baseColorFactor": [0.5, 1, 1, 1]}),
            ),
            (38.6, *LINEAR[1:]),
        ),
        (lambda path: textured(PBRMaterial(baseColorTexture=PICTURE)).export(path / "a.glb"), (200, 100, 50)),
        (
            lambda path: textured(PBRMaterial(baseColorTexture=PICTURE, baseColorFactor=HALF)).export(
                path / "a.glb"
            ),
            (146, 100, 50),
        ),
        (lambda path: trimesh.Scene([coloured(), coloured()]).export(path / "a.glb"), LINEAR),
        (lambda path: coloured().export(path / "a.ply"), (10, 20, 30)),
    ],
)
def test_every_kind_of_material_has_colours(tmp_path, make, colour):
    make(tmp_path)
    (path,) = (path for path in tmp_path.iterdir() if path.suffix in (".glb", ".obj", ".ply"))
    _, colours = surface_samples(load_mesh(path), 50)
    assert torch.allclose(255 * colours, torch.tensor(colour, dtype=torch.float).expand(50, 3), atol=1)


TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nf 1/1 2/2 3/3\n"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        (
            "one.glb",
            lambda path: with_json(path, lambda a: None, version=1),
            "no mesh can be read: only GLTF 2",
        ),
        (
            "one.gltf",
            lambda path: path.write_text('{"asset": {"version": "1.0"}, "meshes": {}}'),
            "no mesh can be read: only GLTF 2",
        ),
        ("cut.glb", lambda path: path.write_bytes(coloured().export(file_type="glb")[:60]), "no mesh can be"),
        ("empty.glb", lambda path: path.touch(), "no mesh can be read"),
        (
            "points.glb",
            lambda path: trimesh.PointCloud(np.eye(3)).export(path),
            "the mesh has no triangles",
        ),
        (
            "mixed.glb",
            lambda path: trimesh.Scene([coloured(), textured(PBRMaterial(baseColorTexture=PICTURE))]).export(
                path
            ),
            "parts with a texture and parts without",
        ),
        ("index.obj", lambda path: path.write_text(TRIANGLE.replace("3/3", "9/3")), "no mesh can be read"),
        ("nan.obj", lambda path: path.write_text(TRIANGLE.replace("v 1", "v nan")), "no surface"),
        ("flat.obj", lambda path: path.write_text(TRIANGLE.replace("v 1", "v 0")), "no surface"),
        (
            "a.obj",
            lambda path: path.write_text("mtllib no.mtl\n" + TRIANGLE),
            "names no.mtl, which is missing",
        ),
        (
            "a.obj",
            lambda path: [
                path.write_text("mtllib a.mtl\nusemtl a\n" + TRIANGLE),
                path.with_suffix(".mtl").write_text("newmtl a\nmap_Kd no.png\n"),
            ],
            "names no.png, which is missing",
        ),
        (
            "a.obj",
            lambda path: [
                path.write_text("mtllib another one.mtl\nusemtl a\n" + TRIANGLE),
                path.with_name("another one.mtl").write_text("newmtl a\nmap_Kd -s 1 1 1 pictures/no.png\n"),
            ],
            "names pictures/no.png, which is missing",
        ),
    ],
)
def test_a_file_without_a_surface_that_can_be_measured_is_one_line(tmp_path, name, content, told):
    content(tmp_path / name)
    with pytest.raises(UserError, match=f"{name}: .*{told}") as caught:
        load_mesh(tmp_path / name)
    assert "\n" not in str(caught.value)


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
