"""Where a scene is looked at from when it is measured: always the same cameras, for it
and for the truth.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..tinyworld.render import Cameras, Lighting, sample_cameras, shade, trace
from ..tinyworld.world import COLOURS, Caption

COUNT = 40
SEED = 7  # no training draws its cameras from this
SIZE = 64
GREY = 0.89  # of the background, the tiny world's mean
SUPERSAMPLING = 2
NEARLY_VERTICAL = 0.99  # cosine from which on y is up, where z cannot be


def evaluation_cameras(count: int = COUNT) -> Cameras:
    """The cameras of every 3D figure, drawn as the tiny world draws them.

    Other cameras alone cost 35 to 74 of Fréchet distance, which is why they never
    change.
    """
    return sample_cameras(count, torch.Generator().manual_seed(SEED))


def turned(cameras: Cameras, degrees: float) -> Cameras:
    return replace(cameras, azimuth=cameras.azimuth + degrees)


def scaled(cameras: Cameras, scale: float) -> Cameras:
    """Cameras that see an object as these see one `scale` times as large."""
    return replace(cameras, distance=cameras.distance / scale)


def axes(cameras: Cameras) -> Tensor:
    """Each camera's right, up and forward as rows, `[n, 3, 3]`."""
    forward = -F.normalize(cameras.position, dim=-1)
    z, y = torch.tensor([0.0, 0, 1]), torch.tensor([0.0, 1, 0])
    up = torch.where(forward[:, 2:].abs() < NEARLY_VERTICAL, z, y)
    right = F.normalize(torch.linalg.cross(forward, up), dim=-1)
    return torch.stack([right, torch.linalg.cross(right, forward), forward], 1)


def project(cameras: Cameras, points: Tensor) -> tuple[Tensor, Tensor]:
    """Where points of the world are seen.

    Args:
        cameras: n of them.
        points: `[N, 3]`, or `[n, N, 3]` for points of each camera's own.

    Returns:
        (x, y) in [0, 1] from the top left, `[n, N, 2]`, and the distances along the
        viewing axes, `[n, N]`.
    """
    local = (points - cameras.position[:, None]) @ axes(cameras).mT
    depth = local[..., 2]
    half = torch.tan(torch.deg2rad(cameras.fovy) / 2)[:, None, None]
    plane = local[..., :2] / (depth[..., None].clamp(min=1e-6) * half) * torch.tensor([0.5, -0.5]) + 0.5
    return plane, depth


def true_views(caption: Caption, cameras: Cameras, size: int = SIZE) -> tuple[Tensor, Tensor]:
    """What the tiny world's object looks like, lit from above each camera on a grey
    background.

    Returns:
        Colours `[n, size, size, 3]` in [0, 1], and which pixels it covers, `[n, size,
        size]`.
    """
    n = len(cameras)
    geometry = trace(caption.object, cameras, size * SUPERSAMPLING)
    lighting = Lighting(
        position=cameras.position + torch.tensor([0.0, 0, 0.56]),  # the mean of the world's own lights
        ambient=torch.full((n,), 0.66),
        diffuse=torch.full((n,), 0.44),
        background=torch.full((n, 3), GREY),
    )
    colours = shade(geometry, torch.tensor(COLOURS[caption.colour]).expand(n, 3), lighting, SUPERSAMPLING)
    hit = F.avg_pool2d((geometry.material != 255).float()[:, None], SUPERSAMPLING)[:, 0]
    return colours, hit > 0.5
