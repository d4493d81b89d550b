"""The portable host's text-to-3D: cameras, geometries, renderer, systems, meshes, on scenes whose look is
known.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import pytorch_lightning as pl
import threestudio
import threestudio.utils.base
import torch
from msd_lab.measure.meshes import load_mesh
from threestudio.utils.config import ConfigError

SMALL = {"height": 16, "width": 16, "eval_height": 24, "eval_width": 24, "n_test_views": 3}
HASH = {
    "otype": "HashGrid",
    "n_levels": 3,
    "n_features_per_level": 2,
    "log2_hashmap_size": 10,
    "base_resolution": 4,
    "per_level_scale": 2.0,
}


def data(**changes):
    module = threestudio.find("random-camera-datamodule")({**SMALL, **changes})
    module.setup()
    return module


def batch_of(module, step=0):
    module.train_dataset.update_step(0, step)
    return module.train_dataset.collate(None)


def scene(geometry_type="volume-grid", geometry=None, material_type="no-material", **renderer):
    geometry = threestudio.find(geometry_type)({"radius": 1.0, **(geometry or {"grid_size": [24, 24, 24]})})
    material = threestudio.find(material_type)({})
    background = threestudio.find("solid-color-background")({"color": [1.0, 0.0, 0.0]})
    settings = {"radius": 1.0, "num_samples_per_ray": 128, **renderer}
    return threestudio.find("nerf-volume-renderer")(
        settings, geometry=geometry, material=material, background=background
    )


def test_cameras_keep_to_their_ranges_and_look_at_the_origin():
    module = data(
        batch_size=5,
        elevation_range=(10, 20),
        camera_distance_range=(2, 3),
        camera_perturb=0.0,
        center_perturb=0.0,
        up_perturb=0.0,
    )
    batch = batch_of(module)
    assert ((batch["elevation"] >= 10 - 1e-3) & (batch["elevation"] <= 20 + 1e-3)).all()
    assert torch.allclose(batch["camera_positions"].norm(dim=-1), batch["camera_distances"])
    assert torch.allclose(
        batch["camera_positions"][:, 2] / batch["camera_distances"],
        torch.deg2rad(batch["elevation"]).sin(),
        atol=1e-5,
    )
    assert torch.allclose(batch["rays_d"].norm(dim=-1), torch.ones(5, 16, 16), atol=1e-5)
    towards = -batch["camera_positions"] / batch["camera_distances"][:, None]
    assert torch.allclose(-batch["c2w"][:, :3, 2], towards, atol=1e-5)
    origin = (batch["mvp_mtx"] @ torch.tensor([0.0, 0, 0, 1]))[:, :2]
    assert torch.allclose(origin, torch.zeros(5, 2), atol=1e-4)


@pytest.mark.parametrize("lights", ["dreamfusion", "magic3d"])
def test_a_batch_of_three_and_both_lights(lights):
    batch = batch_of(data(batch_size=3, light_sample_strategy=lights, light_distance_range=(1, 1.2)))
    rotation = batch["c2w"][:, :3, :3]
    assert torch.allclose(rotation @ rotation.mT, torch.eye(3).expand(3, 3, 3), atol=1e-5)
    distance = batch["light_positions"].norm(dim=-1)
    assert ((distance >= 1 - 1e-4) & (distance <= 1.2 + 1e-4)).all()


def test_sizes_change_at_milestones_and_ranges_open_progressively():
    module = data(
        height=[8, 16], width=[8, 16], batch_size=[4, 2], resolution_milestones=[10], progressive_until=9
    )
    assert batch_of(module, 9)["rays_o"].shape == (4, 8, 8, 3)
    assert batch_of(module, 10)["rays_o"].shape == (2, 16, 16, 3)
    assert batch_of(module, 0)["azimuth"].abs().max() == 0
    assert batch_of(module, 10)["azimuth"].abs().max() > 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"light_sample_strategy": "sun"}, "light_sample_strategy must be one of dreamfusion, magic3d"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"fovy_range": (70, 40)}, "fovy_range: 70.* is more than 40"),
        ({"height": [8, 16]}, "one entry more than resolution_milestones"),
    ],
)
def test_cameras_that_cannot_be_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        data(**change)


def test_a_turn_meets_itself_and_validation_views_do_not():
    module = data(n_test_views=5, n_val_views=4)
    assert torch.allclose(module.test_dataset.views["azimuth"], torch.tensor([0.0, 90, 180, 270, 360]))
    assert torch.allclose(module.val_dataset.views["azimuth"], torch.tensor([0.0, 90, 180, 270]))
    (item,) = [module.val_dataset.collate([module.val_dataset[2]])]
    assert item["index"].tolist() == [2]
    assert item["rays_o"].shape == (1, 24, 24, 3)


def homogeneous(density):
    """A box of constant density and black colour, before the red background."""
    renderer = scene(geometry={"grid_size": [64, 64, 64], "density_bias": 0.0, "density_activation": "none"})
    with torch.no_grad():
        renderer.geometry.grid[:, 0] = density
        renderer.geometry.grid[:, 1:] = -50.0
    return renderer


def test_opacity_follows_beer_lambert_and_rays_beside_the_box_see_the_background():
    renderer = homogeneous(0.7).eval()
    renderer.estimator.binaries.fill_(True)
    origins = torch.tensor([[3.0, 0.1, 0.1], [3.0, 0.1, 5.0]]).view(1, 1, 2, 3)
    directions = torch.tensor([-1.0, 0, 0]).expand_as(origins)
    out = renderer(rays_o=origins, rays_d=directions, light_positions=torch.zeros(1, 3))
    expected = 1 - math.exp(-0.7 * 2)
    step = renderer.render_step_size
    assert out["opacity"][0, 0, :, 0].tolist() == pytest.approx([expected, 0], abs=0.7 * step)
    assert out["comp_rgb"][0, 0, 1].tolist() == [1, 0, 0]
    assert float(out["comp_rgb"][0, 0, 0, 0].detach()) == pytest.approx(1 - expected, abs=0.02)


def test_pruned_and_unpruned_renders_agree():
    torch.manual_seed(0)
    batch = batch_of(data(batch_size=2, camera_distance_range=(2.5, 3)))
    pictures = []
    for prune in (True, False):
        renderer = scene(grid_prune=prune, randomized=False).train()
        renderer.do_update_step(0, 0)
        pictures.append(renderer(**batch))
    assert len(pictures[0]["points"]) < 0.5 * len(pictures[1]["points"])
    # each sample that is dropped hides less than a hundredth; a grazing ray passes several
    difference = (pictures[0]["comp_rgb"] - pictures[1]["comp_rgb"]).abs()
    assert difference.max() < 0.1
    assert difference.mean() < 0.01
    assert pictures[0]["opacity"].max() > 0.9


@pytest.mark.parametrize("kind", ["finite_difference", "finite_difference_laplacian", "analytic"])
def test_normals_of_the_initial_ball_point_outwards(kind):
    geometry = threestudio.find("implicit-volume")({"normal_type": kind, "pos_encoding_config": HASH})
    points = torch.nn.functional.normalize(torch.randn(50, 3), dim=-1) * 0.4
    with torch.no_grad():
        out = geometry(points, output_normal=True)
    assert (out["normal"] * points / 0.4).sum(-1).min() > 0.9
    assert not out["normal"].requires_grad
    assert torch.allclose(geometry.forward_density(points), out["density"])


def test_a_progressive_hash_grid_lets_levels_in():
    settings = {
        **HASH,
        "otype": "ProgressiveBandHashGrid",
        "start_level": 1,
        "start_step": 10,
        "update_steps": 5,
    }
    geometry = threestudio.find("implicit-volume")({"pos_encoding_config": settings})
    for step, levels in ((0, 1), (14, 1), (15, 2), (100, 3)):
        geometry.do_update_step(0, step)
        assert geometry.encoding.encoding.mask.sum() == 2 * levels


def test_point_light_shades_what_faces_it():
    material = threestudio.find("diffuse-with-point-light-material")({}).eval()
    normals = torch.tensor([[0.0, 0, 1], [0, 0, -1]])
    out = material(
        torch.full((2, 3), 50.0), torch.zeros(2, 3), normals, torch.tensor([[0.0, 0, 2]]).expand(2, 3)
    )
    assert torch.allclose(out[:, 0], torch.tensor([1.0, 0.1]))
    material.do_update_step(0, 0)
    out = material(torch.zeros(2, 3), torch.zeros(2, 3), normals, torch.ones(2, 3))
    assert torch.allclose(out, torch.full((2, 3), 0.5))


def test_an_environment_map_is_a_function_of_the_direction():
    background = threestudio.find("neural-environment-map-background")({"eval_color": [0.1, 0.2, 0.3]})
    dirs = torch.nn.functional.normalize(torch.randn(1, 2, 2, 3), dim=-1)
    assert background(dirs).shape == (1, 2, 2, 3)
    assert torch.allclose(background.eval()(dirs), torch.tensor([0.1, 0.2, 0.3]).expand(1, 2, 2, 3))


@threestudio.register("test-scene-guidance")
class RedGuidance(threestudio.utils.base.BaseObject):
    """Wants green pictures."""

    def __call__(self, rgb, prompt_utils, **kwargs):
        return {"loss_green": (rgb - torch.tensor([0.0, 1.0, 0.0])).square().mean(), "grad_norm": 1.0}


@threestudio.register("test-scene-prompt")
class NoPrompt(threestudio.utils.base.BaseObject):
    """No prompt."""

    def __call__(self):
        return None


def system(folder, kind="dreamfusion-system", **changes):
    made = threestudio.find(kind)(
        {
            "geometry_type": "volume-grid",
            "geometry": {"grid_size": [16, 16, 16], "isosurface_resolution": 32},
            "material_type": "no-material",
            "background_type": "solid-color-background",
            "background": {"color": [0.0, 1.0, 0.0]},
            "renderer_type": "nerf-volume-renderer",
            "renderer": {"num_samples_per_ray": 32},
            "guidance_type": "test-scene-guidance",
            "prompt_processor_type": "test-scene-prompt",
            "exporter": {"fmt": "glb", "save_uv": False},
            "loss": {
                "lambda_green": 1.0,
                "lambda_sparsity": 0.01,
                "lambda_opaque": 0.0,
                "lambda_orient": 0.0,
            },
            "optimizer": {"name": "Adam", "args": {"lr": 0.1}, "params": {"geometry": {}}},
            **changes,
        }
    )
    made.set_save_dir(str(folder))
    return made


def trainer(folder, steps):
    return pl.Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        val_check_interval=steps,
        inference_mode=False,
    )


@pytest.mark.parametrize("kind", ["dreamfusion-system", "prolificdreamer-system"])
def test_a_system_trains_and_leaves_pictures_video_and_mesh(tmp_path, kind):
    torch.manual_seed(0)
    made, run = system(tmp_path, kind), trainer(tmp_path, 15)
    run.fit(made, datamodule=data(batch_size=2, camera_distance_range=(2, 2.5)))
    run.test(made, datamodule=data(), verbose=False)
    assert (tmp_path / "it15-0.png").is_file()
    assert len(list((tmp_path / "it15-test").glob("*.png"))) == 3
    assert (tmp_path / "it15-test.mp4").stat().st_size > 500
    made.set_resume_status(0, 15)
    run.predict(made, datamodule=data())
    mesh = load_mesh(tmp_path / "it15-export" / "model.glb")
    red, green, _ = np.asarray(mesh.visual.vertex_colors)[:, :3].mean(0)
    assert green > red + 60
    assert mesh.is_watertight


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_nan_density_stops_with_one_line(tmp_path, seed):
    torch.manual_seed(seed)
    made = system(tmp_path)
    with torch.no_grad():
        made.geometry.grid.fill_(math.nan)
        made.renderer.estimator.binaries.fill_(True)
    with pytest.raises(FloatingPointError, match="density holds NaN"):
        made.renderer.eval()(**batch_of(data()))


@pytest.mark.parametrize(
    ("density", "threshold", "message"),
    [
        (-1e4, "auto", "geometry is empty"),
        (1e4, 25.0, "never crosses 25"),
        (0.0, "high", "expected a number"),
    ],
    ids=["empty", "opaque", "malformed"],
)
def test_a_mesh_without_surface_is_one_line(density, threshold, message):
    geometry = threestudio.find("volume-grid")(
        {"grid_size": [4, 4, 4], "density_bias": 0.0, "isosurface_threshold": threshold}
    )
    with torch.no_grad():
        geometry.grid.fill_(density)
    with pytest.raises(ConfigError, match=message):
        geometry.isosurface()


@pytest.mark.parametrize("density", [-1e4, 1e4])
def test_empty_and_opaque_volumes_render_and_have_gradients(density):
    renderer = scene(geometry={"grid_size": [4, 4, 4], "density_bias": 0.0}).train()
    with torch.no_grad():
        renderer.geometry.grid.fill_(density)
    renderer.do_update_step(0, 0)
    out = renderer(**batch_of(data(batch_size=3, camera_distance_range=(3, 3.5))))
    out["comp_rgb"].sum().backward()
    assert torch.isfinite(renderer.geometry.grid.grad).all()
    assert torch.isfinite(out["comp_rgb"]).all()
    assert (out["opacity"].max() > 0.99) == (density > 0)


def test_weights_along_rays_of_unequal_lengths_are_nerfaccs():
    import nerfacc
    from threestudio.models.renderers.nerf_volume_renderer import march

    torch.manual_seed(0)
    ends = torch.tensor([0.1, 0.5, 0.9, 0.2]), torch.tensor([0.9, 0.4, 1.3, 0.6])  # the second ray misses
    samples = march(ends, 0.1, near=0.0, far=1.2, jitter=None)
    assert samples.ray.bincount(minlength=4).tolist() == [8, 0, 3, 4]
    assert samples.middle[:8, 0].tolist() == pytest.approx([0.15 + 0.1 * k for k in range(8)])
    density = 30 * torch.rand(len(samples.ray))
    found = samples.weights(density)
    for ray in (0, 2, 3):
        own = samples.ray == ray
        edges = torch.arange(int(own.sum()) + 1) * 0.1
        expected = nerfacc.render_weight_from_density(edges[None, :-1], edges[None, 1:], density[None, own])
        for one, other in zip(found, expected, strict=True):
            assert torch.allclose(one[own], other[0], atol=1e-6)


def test_rays_that_miss_the_ball_of_a_geometry_cost_nothing_and_change_nothing():
    batch = batch_of(data(batch_size=2, camera_distance_range=(3, 3.5)))
    outs = []
    for ball in (0.6, None):
        renderer = scene(grid_prune=False, randomized=False, num_samples_per_ray=64).train()
        whole = renderer.geometry.forward

        def in_ball(points, whole=whole, **kwargs):
            out = whole(points, **kwargs)
            return {**out, "density": out["density"] * (points.norm(dim=-1, keepdim=True) < 0.6)}

        renderer.geometry.forward, renderer.geometry.ball_radius = in_ball, ball
        outs.append(renderer(**batch))
    assert len(outs[0]["points"]) < 0.2 * len(outs[1]["points"])
    for name in ("comp_rgb", "opacity", "depth", "z_variance"):
        assert torch.allclose(outs[0][name], outs[1][name], atol=1e-5), name
