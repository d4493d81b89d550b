"""Files of a scene's surface, read back."""

from __future__ import annotations

import base64
import io
import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import threestudio
import torch
import trimesh
from msd_lab.measure.meshes import census, load_mesh, surface_samples
from PIL import Image
from threestudio.models.geometry.base import BaseImplicitGeometry
from threestudio.models.materials.base import BaseMaterial
from threestudio_msd.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


@threestudio.register("test-egg")
class Egg(BaseImplicitGeometry):
    """Longest to the top, next to the front; red grows to the front, green to the left, blue to the top."""

    def forward_field(self, points):
        scaled = points / torch.tensor([0.6, 0.4, 0.8])
        return 1 - scaled.norm(dim=-1, keepdim=True), None

    def forward_level(self, field, threshold):
        return threshold - field

    def export(self, points):
        return {"features": 0.45 + 0.5 * points}


@threestudio.register("test-material")
class Material(BaseMaterial):
    """Colours as they are."""

    def export(self, points, features):
        return {"albedo": features}


def exported(folder, kind="msd-mesh-exporter", resolution=48, needs_normals=False, **settings):
    """Export the egg; returns the files' names."""
    parts = {"geometry": threestudio.find("test-egg")({"isosurface_resolution": resolution})}
    parts |= {"material": threestudio.find("test-material")({}), "background": torch.nn.Identity()}
    parts["material"].requires_normal = needs_normals
    exporter = threestudio.find(kind)({"texture_size": 256, **settings}, **parts)
    outputs = exporter()
    for output in outputs:
        assert output.save_type == "file"
        shutil.copy(output.params["src_path"], folder / output.save_name)
    return {output.save_name for output in outputs}


def parsed(path):
    """The JSON of a GLB, and its buffer."""
    whole = path.read_bytes()
    length = struct.unpack("<I", whole[12:16])[0]
    return json.loads(whole[20 : 20 + length]), whole[28 + length :]


def stored(path, attribute):
    """The floats of an attribute of a GLB's vertices, `[V, 2 to 4]`."""
    tree, buffer = parsed(path)
    accessor = tree["accessors"][tree["meshes"][0]["primitives"][0]["attributes"][attribute]]
    assert accessor["componentType"] == 5126  # 32 bits
    items, view = int(accessor["type"][-1]), tree["bufferViews"][accessor["bufferView"]]
    return np.frombuffer(buffer, np.float32, items * accessor["count"], view["byteOffset"]).reshape(-1, items)


FILES = {
    "glb": {"model.glb"},
    "obj-mtl": {"model.obj", "model.mtl", "model_kd.png"},
    "obj": {"model.obj"},
    "ply": {"model.ply"},
}


@pytest.mark.parametrize("fmt", FILES)
@pytest.mark.parametrize("save_uv", [True, False])
def test_a_file_is_read_upright_and_in_its_colours(tmp_path, fmt, save_uv):
    assert exported(tmp_path, fmt=fmt, save_uv=save_uv, faces=3000) == (
        FILES[fmt] if save_uv or fmt != "obj-mtl" else FILES["obj"]
    )
    (path,) = (path for path in tmp_path.iterdir() if path.suffix in (".glb", ".obj", ".ply"))
    as_read = trimesh.load_mesh(path, process=False)
    longest, next_one = np.abs(as_read.vertices).max(0).argsort()[:0:-1]
    assert (longest, next_one) == ((2, 0) if fmt == "ply" else (1, 2))  # up, and to the front
    mesh = load_mesh(path)
    assert census(mesh) == {"watertight": 1, "components": 1, "faces": 3000}
    points, colours = surface_samples(mesh, 2000)
    assert torch.allclose(points.abs().amax(0), torch.tensor([0.6, 0.4, 0.8]), atol=0.02)
    assert (255 * (colours - Egg.export(None, points)["features"])).abs().max() < 1.5


def test_axes_can_be_chosen_and_an_obj_says_so(tmp_path):
    for fmt, up in (("glb", "z"), ("obj", "z"), ("ply", "y")):
        exported(tmp_path, fmt=fmt, faces=200, **{f"up_{fmt}": up})
        path = tmp_path / f"model.{fmt}"
        assert np.abs(trimesh.load_mesh(path).vertices).max(0).argmax() == "xyz".index(up)
        tall = np.abs(load_mesh(path).vertices).max(0).argmax() == 2
        assert tall == (fmt == "obj")  # readers of the others turn it wrongly, as it was asked for


def test_a_glb_says_its_material(tmp_path):
    exported(tmp_path, faces=300)
    tree, buffer = parsed(tmp_path / "model.glb")
    (material,) = tree["materials"]
    assert material["extensions"] == {"KHR_materials_unlit": {}}
    assert tree["extensionsUsed"] == ["KHR_materials_unlit"]
    assert material["pbrMetallicRoughness"] == {
        "baseColorTexture": {"index": 0},
        "metallicFactor": 0,
        "roughnessFactor": 1,
    }
    (primitive,) = tree["meshes"][0]["primitives"]
    assert set(primitive["attributes"]) == {"POSITION", "TEXCOORD_0"}
    view = tree["bufferViews"][tree["images"][0]["bufferView"]]
    picture = Image.open(io.BytesIO(buffer[view["byteOffset"] :][: view["byteLength"]]))
    assert (picture.size, picture.mode, "gamma" in picture.info) == ((256, 256), "RGB", False)


def test_colours_of_vertices_are_linear_light_in_32_bits(tmp_path):
    exported(tmp_path, save_uv=False, faces=300, needs_normals=True)
    tree, _ = parsed(tmp_path / "model.glb")
    assert tree["materials"] == [{"pbrMetallicRoughness": {"metallicFactor": 0, "roughnessFactor": 1}}]
    attributes = tree["meshes"][0]["primitives"][0]["attributes"]
    assert set(attributes) == {"POSITION", "NORMAL", "COLOR_0"}
    colours = stored(tmp_path / "model.glb", "COLOR_0")
    assert colours.max(0) == pytest.approx([0.5225, 0.3813, 0.6867, 1], abs=0.02)  # of .75, .65, .85 by hand
    assert len(np.unique((255 * colours[:, 0]).round())) < len(np.unique((65535 * colours[:, 0]).round()))


def test_normals_are_smooth_over_seams_and_turned_with_the_surface(tmp_path):
    exported(tmp_path, save_normal=True, faces=2000)
    points, normals = (stored(tmp_path / "model.glb", name)[:, :3] for name in ("POSITION", "NORMAL"))
    outward = points / np.array([0.4, 0.8, 0.6]) ** 2
    cosine = (normals * outward).sum(1) / np.linalg.norm(outward, axis=1)
    assert cosine.mean() > 0.99
    assert cosine.min() > 0.8
    places = np.unique(points, axis=0)
    assert len(places) < len(points)  # seams are cut
    assert len(np.unique(np.column_stack([points, normals]), axis=0)) == len(places)


@pytest.mark.parametrize("faces", [0, None, 10**6])
def test_the_full_surface_can_be_kept(tmp_path, faces):
    exported(tmp_path, "msd-mesh-exporter", 16, fmt="ply", faces=faces)
    full = Egg({"isosurface_resolution": 16}).isosurface()
    assert len(trimesh.load_mesh(tmp_path / "model.ply").faces) == len(full.t_pos_idx)


def test_a_page_holds_the_model_and_asks_no_network(tmp_path):
    assert exported(tmp_path, fmt=["glb", "html"], faces=100, save_name="a<b") == {"a<b.glb", "a<b.html"}
    page = (tmp_path / "a<b.html").read_text()
    assert "<title>a&lt;b</title>" in page
    assert "{{" not in page
    assert "http" not in page
    assert base64.b64encode((tmp_path / "a<b.glb").read_bytes()).decode() in page


def test_the_hosts_own_name_keeps_its_defaults(tmp_path):
    assert exported(tmp_path, "mesh-exporter", 16) == {"model.obj", "model.mtl", "model_kd.jpg"}
    mesh = trimesh.load_mesh(tmp_path / "model.obj", process=False)
    assert np.abs(mesh.vertices).max(0).argmax() == 2
    assert len(mesh.faces) == len(Egg({"isosurface_resolution": 16}).isosurface().t_pos_idx)


def test_without_a_package_it_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "xatlas", None)
    for name in ("mesh_files", "surface"):
        monkeypatch.delitem(sys.modules, f"threestudio_msd.scene.{name}", raising=False)
    with pytest.raises(UserError, match=r"--export needs the package xatlas: pip install -e '\.\[3d\]'"):
        exported(tmp_path, resolution=16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fmt": "stl"}, "fmt must be one of glb, obj-mtl, obj, ply, html"),
        ({"fmt": ["glb", 3]}, "fmt must be one of"),
        ({"texture_format": "bmp"}, "texture_format must be one of jpg, png"),
        ({"texture_size": 0}, "texture_size must be at least 1"),
        ({"faces": -1}, "faces must be at least 0"),
        ({"up_glb": "x"}, "up_glb must be one of y, z"),
        ({"save_name": "a/b"}, "save_name must be a file's name"),
    ],
)
def test_what_cannot_be_exported_is_refused(change, message):
    parts = dict.fromkeys(("geometry", "material", "background"), torch.nn.Identity())
    with pytest.raises(ValueError, match=message):
        threestudio.find("msd-mesh-exporter")(change, **parts)


VALIDATE = (
    "require('gltf-validator').validateBytes(new Uint8Array(require('fs').readFileSync(process.argv[1])))"
    ".then((report) => console.log(JSON.stringify(report.issues)))"
)


@pytest.fixture(scope="module")
def validator():
    """A folder from which node finds Khronos's validator; npm fetches it once."""
    folder = ROOT / ".cache" / "gltf-validator"
    if shutil.which("npm") is None:
        pytest.skip("npm is not here, which has Khronos's glTF validator")
    if not (folder / "node_modules").is_dir():
        install = ["npm", "install", "--silent", "--prefix", folder, "gltf-validator@2.0.0-dev.3.10"]
        if subprocess.run(install, check=False, capture_output=True, timeout=120).returncode:
            pytest.skip("npm cannot fetch Khronos's glTF validator")
    return folder


@pytest.mark.parametrize("save_uv", [True, False])
@pytest.mark.parametrize("needs_normals", [True, False])
def test_khronos_validator_finds_nothing_in_a_glb(validator, tmp_path, save_uv, needs_normals):
    exported(tmp_path, save_uv=save_uv, needs_normals=needs_normals, faces=300)
    asked = ["node", "-e", VALIDATE, tmp_path / "model.glb"]
    issues = json.loads(subprocess.check_output(asked, cwd=validator))
    assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]


def test_an_opaque_fields_texture_is_within_3_of_255_of_its_own_renders(tmp_path):
    """A scene's fog is seen differently from every side; without fog a surface shows what the field shows."""
    grid = {"sizes": [24, 48], "density_blob_scale": 100.0, "init_scale": 0.0, "isosurface_resolution": 64}
    grid |= {"shape_init": "ellipsoid", "shape_init_params": [0.4, 0.3, 0.5]}
    geometry = threestudio.find("msd-multiscale-grid")(grid)
    with torch.no_grad():  # colours that change slowly
        generator = torch.Generator().manual_seed(0)
        geometry.grids[0][:, 1:] = torch.nn.functional.interpolate(
            torch.randn(1, 3, 4, 4, 4, generator=generator), (24, 24, 24), mode="trilinear"
        )
    material = threestudio.find("no-material")({"n_output_dims": 3})
    exporter = threestudio.find("msd-mesh-exporter")(
        {"texture_size": 512}, geometry=geometry, material=material, background=torch.nn.Identity()
    )
    (output,) = exporter()
    mesh = load_mesh(Path(output.params["src_path"]))
    points, colours = surface_samples(mesh, 3000)
    normals = geometry._normal(points)
    away = points / points.norm(dim=-1, keepdim=True)
    facing = (away * normals).sum(-1) > 0.9
    starts = (points + 0.1 * normals)[facing]
    depths = torch.linspace(0, 0.2, 401)[:, None]
    along = starts[:, None] - depths * normals[facing][:, None]
    with torch.no_grad():
        field = geometry(along)
        thickness = field["density"] * 0.2 / 400
        light = (thickness - thickness.cumsum(1)).exp() * -torch.expm1(-thickness)
        seen = (light * field["features"].sigmoid()).sum(1)
    assert light.sum(1).min() > 0.99
    assert (255 * (seen - colours[facing])).abs().amax(-1).median() < 3


@threestudio.register("test-box")
class Box(BaseImplicitGeometry):
    """A box of side 1 whose faces lie on the lattice; its field is its distance, exact there."""

    def forward_field(self, points):
        return 0.5 - points.abs().amax(-1, keepdim=True), None

    def forward_level(self, field, threshold):
        return threshold - field


def test_lattice_values_at_the_threshold_cut_no_corners():
    for inside in (lambda level: level, torch.sign):  # a distance, and what is only in or out
        geometry = Box({"isosurface_resolution": 17, "isosurface_coarse_to_fine": False})
        whole = geometry.forward_level
        geometry.forward_level = lambda *args, whole=whole, inside=inside: inside(whole(*args))
        mesh = geometry.isosurface()
        shape = trimesh.Trimesh(mesh.v_pos.numpy(), mesh.t_pos_idx.numpy())
        assert shape.volume == pytest.approx(1, rel=0.01)
