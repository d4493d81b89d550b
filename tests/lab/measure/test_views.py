"""The cameras of 3D figures, and what they see."""

from __future__ import annotations

import torch
from msd_lab.measure.views import evaluation_cameras, project, true_views, turned
from msd_lab.tinyworld.world import Caption


def test_the_cameras_are_always_the_same():
    one, other = evaluation_cameras(), evaluation_cameras()
    assert len(one) == 40
    assert torch.equal(one.azimuth, other.azimuth)


def test_a_point_on_a_ray_is_seen_where_the_ray_starts():
    cameras = evaluation_cameras(3)
    rays = cameras.rays(8)
    points = cameras.position[:, None] + 1.3 * rays[:, 2, 5][:, None]
    plane, depth = project(cameras, points)
    assert torch.allclose(plane, torch.tensor([(5 + 0.5) / 8, (2 + 0.5) / 8]).expand(3, 1, 2), atol=1e-5)
    assert ((depth > 0) & (depth <= 1.3)).all()


def test_a_turned_camera_sees_the_object_turned():
    cameras = evaluation_cameras(2)
    caption = Caption("car", "green")
    colour, silhouette = true_views(caption, cameras)
    again, _ = true_views(caption, turned(cameras, 360.0))
    other, _ = true_views(caption, turned(cameras, 90.0))
    assert silhouette.float().mean() > 0.02
    assert (colour - again).abs().mean() < 1e-3
    assert (colour - other).abs().mean() > 0.01
