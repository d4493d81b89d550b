"""The renderer: geometry, colours, cameras, determinism."""

from __future__ import annotations

import pytest
import torch
from msd_lab.tinyworld.render import (
    Cameras,
    Lighting,
    balanced_cameras,
    render,
    sample_cameras,
    shade,
    trace,
    true_renders,
)
from msd_lab.tinyworld.shapes import MATERIALS, RADIUS, SHAPES, ball, box, capsule, cylinder, parts_of, ring
from msd_lab.tinyworld.world import COLOURS, HELD_OUT, OBJECTS, VIEWS, Caption, view_name
from msd_lab.training import data
from msd_lab.training.data import DataConfig, cached_images, render_images


def cameras(*azimuths: float, elevation: float = 10.0) -> Cameras:
    n = len(azimuths)
    return Cameras(
        torch.full((n,), elevation), torch.tensor(azimuths), torch.full((n,), 1.75), torch.full((n,), 50.0)
    )


@pytest.mark.parametrize(
    ("distance", "point", "expected"),
    [
        (lambda p: ball(p, (0, 0, 1), 0.5), (0, 0, 3), 1.5),
        (lambda p: box(p, (0, 0, 0), (1, 1, 1)), (2, 2, 0), 2**0.5),
        (lambda p: box(p, (0, 0, 0), (1, 1, 1), 0.2), (2, 0, 0), 1.0),
        (lambda p: capsule(p, (0, 0, 0), (1, 0, 0), 0.25), (2, 0, 0), 0.75),
        (lambda p: cylinder(p, (0, 0, 0), 2, 1, 0.5), (2, 0, 1.5), 2**0.5),
        (lambda p: ring(p, (0, 0, 0), 2, 1, 0.25), (0, 0, 0), 0.75),
    ],
)
def test_primitives_are_distances(distance, point, expected):
    assert distance(torch.tensor([point], dtype=torch.float)).item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", OBJECTS)
def test_shapes_lie_within_the_bounding_ball(name):
    points = torch.randn(20_000, 3, generator=torch.Generator().manual_seed(0))
    points = points / points.norm(dim=-1, keepdim=True) * RADIUS
    parts = parts_of(name, points)
    assert {material for _, material in parts} <= set(MATERIALS)
    assert torch.stack([distance for distance, _ in parts]).min() > 0


def test_camera_stands_where_threestudio_puts_it():
    expected = {0: (1.75, 0, 0), 90: (0, 1.75, 0), 180: (-1.75, 0, 0), -90: (0, -1.75, 0)}
    position = cameras(*map(float, expected), elevation=0.0).position
    assert torch.allclose(position, torch.tensor(list(expected.values())), atol=1e-5)


def test_centre_ray_looks_at_the_origin():
    views = cameras(30.0, elevation=20.0)
    rays = views.rays(65)
    assert torch.allclose(rays[0, 32, 32], -views.position[0] / 1.75, atol=1e-5)
    assert rays[0, 0, 32, 2] > rays[0, 64, 32, 2], "the first row is the top"


def test_ball_covers_as_much_of_the_frame_as_it_should(monkeypatch):
    monkeypatch.setitem(SHAPES, "car", lambda p, m: [(ball(p, (0, 0, 0), 0.4), "body")])
    hit = trace("car", cameras(0.0, elevation=0.0), 128).material[0] != 255
    half_angle = torch.asin(torch.tensor(0.4 / 1.75))
    radius = 64 * half_angle.tan() / torch.deg2rad(torch.tensor(25.0)).tan()
    assert hit.sum().item() == pytest.approx(torch.pi * radius.item() ** 2, rel=0.02)


@pytest.mark.parametrize("name", OBJECTS)
def test_silhouettes_are_centred_and_fill_the_frame(name):
    hit = trace(name, cameras(0.0, 90.0, 180.0, -90.0), 64).material != 255
    for silhouette in hit:
        rows, columns = silhouette.nonzero().unbind(-1)
        for edges in (rows, columns):
            assert abs((edges.min() + edges.max()).item() / 2 - 31.5) < 9
        assert max(rows.max() - rows.min(), columns.max() - columns.min()) > 20
        assert not silhouette[[0, -1]].any()
        assert not silhouette[:, [0, -1]].any()


@pytest.mark.parametrize("name", OBJECTS)
def test_front_and_back_look_different(name):
    material = trace(name, cameras(0.0, 180.0), 128).material
    assert (material[0] != material[1].flip(-1)).sum() > 60


def test_normals_face_the_camera():
    views = cameras(20.0, elevation=30.0)
    geometry = trace("teapot", views, 64)
    hit = geometry.material[0] != 255
    normal = geometry.normal[0][hit]
    assert torch.allclose(normal.norm(dim=-1), torch.ones(len(normal)), atol=1e-4)
    towards = torch.nn.functional.normalize(views.position - geometry.position[0][hit], dim=-1)
    assert ((normal * towards).sum(-1) > -0.05).float().mean() > 0.99


def test_flat_light_gives_exactly_the_albedo():
    geometry = trace("car", cameras(40.0), 64)
    light = Lighting(torch.zeros(1, 3), torch.ones(1), torch.zeros(1), torch.full((1, 3), 0.9))
    colour = torch.tensor([COLOURS["green"]])
    image = shade(geometry, colour, light, supersampling=1)[0]
    body = geometry.material[0] == list(MATERIALS).index("body")
    assert body.sum() > 50
    assert torch.allclose(image[body], colour.expand(int(body.sum()), 3))
    assert torch.allclose(image[geometry.material[0] == 255], torch.tensor(0.9))


@pytest.mark.parametrize("colour", COLOURS)
def test_objects_have_their_colour_and_backgrounds_are_light(colour):
    views = cameras(30.0)
    image = render("house", colour, views, seed=3)[0]
    assert image[0].min() > 0.7
    body = trace("house", views, 64).material[0] == list(MATERIALS).index("body")
    mean = image[body].mean(0)
    nearest = min(COLOURS, key=lambda name: (torch.tensor(COLOURS[name]) - mean).norm().item())
    assert nearest == colour


def test_renders_are_deterministic_and_seeds_differ():
    one, same, other = (true_renders("a red mug", 2, seed) for seed in (1, 1, 2))
    assert one.shape == (2, 64, 64, 3)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.min() >= 0
    assert one.max() <= 1


@pytest.mark.parametrize("view", ["side", "front", "back", "overhead"])
def test_sampled_cameras_keep_threestudios_ranges_and_the_view(view):
    drawn = sample_cameras(40, torch.Generator().manual_seed(0), view)
    assert drawn.views == [view] * 40
    for values, low, high in (
        (drawn.elevation, -10, 70),
        (drawn.azimuth, -180, 180),
        (drawn.distance, 1.5, 2.0),
        (drawn.fovy, 40, 70),
    ):
        assert low <= values.min()
        assert values.max() <= high


def test_true_renders_accept_pairs_captions_and_prompts_alike():
    expected = true_renders("a blue house", 1, seed=5)
    assert torch.equal(true_renders(("house", "blue"), 1, seed=5), expected)
    assert torch.equal(true_renders(Caption("house", "blue"), 1, seed=5), expected)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="zebra"):
        true_renders(("zebra", "red"), 1)
    with pytest.raises(ValueError, match="names no colour"):
        true_renders("a mug", 1)


def test_training_images_are_labelled_balanced_and_cached(tmp_path):
    config = DataConfig(views=4, colours_per_view=2, seed=3)
    images = cached_images(config, tmp_path)
    assert images.rgb.shape == (len(OBJECTS) * 8, 3, 64, 64)
    assert set(images.colour.bincount().tolist()) == {len(OBJECTS)}
    assert set(images.object.bincount().tolist()) == {8}
    (path,) = tmp_path.iterdir()
    modified = path.stat().st_mtime_ns
    again = cached_images(config, tmp_path)
    assert torch.equal(images.rgb, again.rgb)
    assert path.stat().st_mtime_ns == modified
    assert set(images.view.bincount().tolist()) == {len(OBJECTS) * 2}, "every view comes equally often"
    angles = zip(images.elevation.tolist(), images.azimuth.tolist(), strict=True)
    assert [view_name(*pair) for pair in angles] == [VIEWS[view] for view in images.view]
    colours = list(COLOURS)
    seen = images.seen()
    kept = {(OBJECTS[o], colours[c]) for o, c in zip(seen.object.tolist(), seen.colour.tolist(), strict=True)}
    assert kept.isdisjoint(HELD_OUT)
    assert 0 < len(seen) < len(images)


@pytest.fixture
def two_objects(monkeypatch):
    monkeypatch.setattr(data, "OBJECTS", ("mug", "car"))


def test_another_version_of_the_world_is_another_file_but_another_docstring_is_not(
    tmp_path, monkeypatch, two_objects
):
    config = DataConfig(views=1, colours_per_view=1)
    cached_images(config, tmp_path)
    monkeypatch.setattr(data, "__doc__", "told differently")
    cached_images(config, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(data, "VERSION", data.VERSION + 1)
    cached_images(config, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("n", [1, 2, 7, 16])
def test_balanced_cameras_take_the_views_in_turns(n):
    views = balanced_cameras(n, torch.Generator().manual_seed(n)).views
    counts = [views.count(view) for view in VIEWS]
    assert sum(counts) == n
    assert max(counts) - min(counts) <= 1


def test_other_seeds_give_other_training_images(two_objects):
    one, other = (render_images(DataConfig(1, 1, seed)) for seed in (0, 1))
    assert not torch.equal(one.rgb, other.rgb)
