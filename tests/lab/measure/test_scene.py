"""Figures of scenes whose quality is known: the true object, a ball, a scene with two faces."""

from __future__ import annotations

import math

import pytest
import torch
from msd_lab.measure import scene
from msd_lab.measure.scene import Views, azimuth_consistency, depth_agreement, floaters, psnr, scene_figures
from msd_lab.measure.views import evaluation_cameras, scaled, true_views, turned
from msd_lab.tinyworld.judge import load_judge
from msd_lab.tinyworld.render import trace
from msd_lab.tinyworld.world import parse_prompt


class Truth:
    """The world's own object, turned, as a scene."""

    def __init__(self, prompt, degrees=0.0):
        self.caption, self.degrees = parse_prompt(prompt), degrees

    def views(self, cameras, size, background):
        cameras = turned(cameras, self.degrees)
        colour, silhouette = true_views(self.caption, cameras, size)
        position = trace(self.caption.object, cameras, size).position
        depth = (position - cameras.position[:, None, None]).norm(dim=-1)
        return Views(colour, silhouette.float(), depth)

    def density(self, points):
        return torch.full((points,) * 3, 50.0)


class Ball(Truth):
    """A plain ball in the object's colour."""

    def views(self, cameras, size, background):
        rays, origin = cameras.rays(size), cameras.position[:, None, None]
        along = -(origin * rays).sum(-1)
        gap = (origin**2).sum(-1) - along**2
        hit = gap < 0.45**2
        colour = torch.where(hit[..., None], torch.tensor([0.1, 0.26, 0.88]), background)
        return Views(colour, hit.float(), along - (0.45**2 - gap).clamp(min=0).sqrt())


@pytest.fixture(scope="module", autouse=True)
def _few_cameras():
    """Enough of the evaluation's cameras and turns for differences as large as these."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scene, "evaluation_cameras", lambda: evaluation_cameras(15))
        patch.setattr(scene, "YAWS", 8)
        yield


@pytest.fixture(scope="module")
def judge():
    return load_judge()


@pytest.fixture(scope="module")
def house(judge):
    return scene_figures(Truth("a blue house", degrees=90.0), "a blue house", [judge, judge])


def test_the_truth_is_recognised_whichever_way_it_stands(house):
    assert house["iou"] > 0.95
    assert house["l1"] < 0.01
    assert house["yaw_error"] == 90
    assert house["iou_scaled"] == house["iou"]
    assert house["scale"] == pytest.approx(1)
    assert house["both"] > 0.9
    assert house["azimuth"] > 0.9
    assert house["depth_agreement"] > 0.97
    assert house["floaters"] == 0
    assert house["frechet_second"] == house["frechet"]


def test_a_ball_is_no_house(house, judge):
    ball = scene_figures(Ball("a blue house"), "a blue house", [judge])
    assert ball["iou"] < house["iou"] - 0.1
    assert ball["l1"] > 3 * house["l1"]
    assert ball["frechet"] > 3 * house["frechet"]
    assert ball["azimuth"] < house["azimuth"] - 0.2  # it looks the same from all round
    assert ball["both"] < 0.1
    assert ball["depth_agreement"] > 0.97


def test_a_scene_of_another_size_is_compared_at_its_own():
    """A small mug in the truth's place: plain figures see its size, the scaled ones its shape."""
    cameras, caption = evaluation_cameras(15), parse_prompt("a red mug")
    colour, silhouette = true_views(caption, scaled(turned(cameras, 45.0), 0.8), 64)
    found = scene.against_truth(caption, cameras, Views(colour, silhouette.float(), colour[..., 0]))
    assert found["scale"] == pytest.approx(0.8, rel=0.04)
    assert found["iou"] < 0.75
    assert found["iou_scaled"] > 0.93
    assert found["l1_scaled"] < 0.5 * found["l1"]


class Reader:
    """A judge that reads a given azimuth from every picture."""

    def __init__(self, azimuth):
        self.azimuth = azimuth

    def camera(self, images):
        return self.azimuth, torch.zeros(len(images))


def test_two_faces_are_read_as_a_front_from_behind_as_well():
    cameras, pictures = evaluation_cameras(), torch.zeros(40, 4, 4, 3)
    right = azimuth_consistency(Reader(cameras.azimuth + 90), cameras, pictures)
    assert right == 1  # a turn of the whole scene is no fault
    janus = azimuth_consistency(Reader(cameras.azimuth % 180), cameras, pictures)
    assert janus < 0.75
    ball = azimuth_consistency(Reader(torch.zeros(40)), cameras, pictures)
    assert ball < 0.5


def test_a_prompt_from_elsewhere_leaves_the_figures_of_the_scene_itself(judge):
    found = scene_figures(Truth("a red mug"), "a dragon made of glass", [judge])
    assert sorted(found) == ["depth_agreement", "floaters", "opacity"]


def test_depths_that_contradict_each_other_are_found():
    cameras = evaluation_cameras(15)
    views = Truth("a red mug").views(cameras, 32, torch.ones(3))
    wrong = torch.rand(len(cameras), 1, 1, generator=torch.Generator().manual_seed(0)) - 0.5
    assert depth_agreement(cameras, views) > 0.95
    assert depth_agreement(cameras, Views(views.colour, views.opacity, views.depth + wrong)) < 0.8
    nothing = Views(views.colour, 0 * views.opacity, views.depth)
    assert math.isnan(depth_agreement(cameras, nothing))


def test_floaters_are_what_is_not_connected():
    density = torch.zeros(8, 8, 8)
    assert math.isnan(floaters(density))
    density[:2, :2, :2] = 20.0
    density[6, 6, 6:] = 20.0
    assert floaters(density) == pytest.approx(0.2)


def test_psnr_is_in_decibels():
    assert psnr(torch.zeros(4), torch.full((4,), 0.1)) == pytest.approx(20, abs=1e-3)
