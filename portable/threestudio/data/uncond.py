"""`random-camera-datamodule`: cameras and lights drawn anew at every step, and a turn
around the scene for pictures.
"""

import bisect
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import threestudio
import torch
import torch.nn.functional as F
from threestudio.utils.base import Updateable
from threestudio.utils.cameras import (
    camera_position,
    get_mvp_matrix,
    get_projection_matrix,
    get_ray_directions,
    get_rays,
    look_at,
)
from threestudio.utils.config import parse_structured
from threestudio.utils.lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

NEAR, FAR = 0.01, 100.0  # of the projection matrix
LIGHTS = ("dreamfusion", "magic3d")


@dataclass
class RandomCameraDataModuleConfig:
    # numbers, or lists of them: entry i holds from step resolution_milestones[i - 1]
    height: Any = 64
    width: Any = 64
    batch_size: Any = 1
    resolution_milestones: list[int] = field(default_factory=list)
    eval_height: int = 512
    eval_width: int = 512
    eval_batch_size: int = 1
    n_val_views: int = 1
    n_test_views: int = 120
    elevation_range: tuple[float, float] = (-10, 90)
    azimuth_range: tuple[float, float] = (-180, 180)
    camera_distance_range: tuple[float, float] = (1, 1.5)
    fovy_range: tuple[float, float] = (40, 70)  # vertical
    camera_perturb: float = 0.1  # uniform within +- this
    center_perturb: float = 0.2  # standard deviation
    up_perturb: float = 0.02  # standard deviation
    light_position_perturb: float = 1.0  # standard deviation, strategy dreamfusion
    light_distance_range: tuple[float, float] = (0.8, 1.5)
    eval_elevation_deg: float = 15.0
    eval_camera_distance: float = 1.5
    eval_fovy_deg: float = 70.0
    light_sample_strategy: str = "dreamfusion"  # or magic3d
    batch_uniform_azimuth: bool = True  # the azimuths of a batch cover the whole range
    progressive_until: int = 0  # the step until which the ranges of elevation and azimuth grow from the front

    rays_d_normalize: bool = True

    def __post_init__(self) -> None:
        if self.light_sample_strategy not in LIGHTS:
            raise ValueError(
                f"light_sample_strategy must be one of {', '.join(LIGHTS)}, "
                f"got {self.light_sample_strategy!r}"
            )
        for name in ("camera_distance_range", "fovy_range", "elevation_range", "azimuth_range"):
            low, high = getattr(self, name)
            if not low <= high:
                raise ValueError(f"{name}: {low} is more than {high}")
        if self.camera_distance_range[0] <= 0:
            raise ValueError(f"camera_distance_range must be positive, got {self.camera_distance_range}")
        if not 0 < self.fovy_range[0] <= self.fovy_range[1] < 180:
            raise ValueError(f"fovy_range must lie between 0 and 180, got {self.fovy_range}")
        for name in (
            "height",
            "width",
            "batch_size",
            "eval_height",
            "eval_width",
            "n_val_views",
            "n_test_views",
        ):
            if min(as_list(getattr(self, name)), default=0) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        lengths = {len(as_list(value)) for value in (self.height, self.width, self.batch_size)}
        if len(lengths) > 1 or (lengths != {1} and lengths != {len(self.resolution_milestones) + 1}):
            raise ValueError(
                "height, width and batch_size must be numbers, or lists with one entry more than "
                f"resolution_milestones, which has {len(self.resolution_milestones)}"
            )


def as_list(value: Any) -> list[int]:
    return [value] if isinstance(value, int) else list(value)


def uniform(shape: Any, low: float, high: float) -> Tensor:
    return torch.rand(shape) * (high - low) + low


def camera_batch(c2w: Tensor, fovy: Tensor, height: int, width: int, normalize: bool) -> dict[str, Tensor]:
    """Rays and matrices of cameras.

    Args:
        c2w: Camera to world, `[B, 4, 4]`.
        fovy: Vertical field of view, radians, `[B]`.
        height: Pixels.
        width: Pixels.
        normalize: Whether ray directions become unit vectors.
    """
    directions = get_ray_directions(height, width, 1.0).repeat(len(c2w), 1, 1, 1)
    directions[..., :2] /= (0.5 * height / torch.tan(0.5 * fovy))[:, None, None, None]
    rays_o, rays_d = get_rays(directions, c2w, keepdim=True, normalize=normalize)
    projection = get_projection_matrix(fovy, width / height, NEAR, FAR)
    return {
        "rays_o": rays_o,
        "rays_d": rays_d,
        "mvp_mtx": get_mvp_matrix(c2w, projection),
        "c2w": c2w,
        "fovy": fovy,
        "proj_mtx": projection,
    }


class RandomCameraIterableDataset(IterableDataset, Updateable):
    """Without end: a batch of new cameras at every step (`collate`)."""

    def __init__(self, cfg: Any) -> None:
        super().__init__()
        self.cfg: RandomCameraDataModuleConfig = cfg
        self.sizes = list(zip(as_list(cfg.height), as_list(cfg.width), as_list(cfg.batch_size), strict=True))
        if len(self.sizes) == 1 and cfg.resolution_milestones:
            threestudio.warn("Ignoring resolution_milestones since height and width are not changing")
        self.milestones = [-1, *(cfg.resolution_milestones if len(self.sizes) > 1 else [])]
        self.update_step(0, 0)
        self.elevation_range, self.azimuth_range = cfg.elevation_range, cfg.azimuth_range

    def update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        now = bisect.bisect_right(self.milestones, global_step) - 1
        self.height, self.width, self.batch_size = self.sizes[now]
        cfg, part = self.cfg, min(1.0, global_step / (self.cfg.progressive_until + 1))
        self.elevation_range, self.azimuth_range = (
            [(1 - part) * start + part * end for end in limits]
            for start, limits in ((cfg.eval_elevation_deg, cfg.elevation_range), (0.0, cfg.azimuth_range))
        )

    def __iter__(self) -> Iterator[dict]:
        while True:
            yield {}

    def collate(self, batch: Any) -> dict[str, Any]:
        """New cameras, whatever the argument: rays, matrices, angles in degrees,
        lights.

        Random numbers are drawn in threestudio's order, so equal seeds give equal
        cameras.
        """
        cfg, n = self.cfg, self.batch_size
        elevation = self._elevations()
        azimuth = self._azimuths()
        distance = uniform(n, *cfg.camera_distance_range)
        position = camera_position(elevation, azimuth, distance)
        position = position + uniform((n, 3), -cfg.camera_perturb, cfg.camera_perturb)
        centre = torch.randn(n, 3) * cfg.center_perturb
        up = torch.tensor([0.0, 0.0, 1.0]) + torch.randn(n, 3) * cfg.up_perturb
        fovy = torch.deg2rad(uniform(n, *cfg.fovy_range))
        lights = self._lights(position)
        return {
            **camera_batch(
                look_at(position, centre, up), fovy, self.height, self.width, cfg.rays_d_normalize
            ),
            "camera_positions": position,
            "light_positions": lights,
            "elevation": torch.rad2deg(elevation),
            "azimuth": torch.rad2deg(azimuth),
            "camera_distances": distance,
            "height": self.height,
            "width": self.width,
        }

    def _elevations(self) -> Tensor:
        """Radians: half of the batches uniform in the angle (more near the poles), half
        uniform on the sphere.
        """
        low, high = (math.radians(limit) for limit in self.elevation_range)
        if random.random() < 0.5:
            return uniform(self.batch_size, low, high)
        return torch.asin(uniform(self.batch_size, math.sin(low), math.sin(high)))

    def _azimuths(self) -> Tensor:
        low, high = (math.radians(limit) for limit in self.azimuth_range)
        if self.cfg.batch_uniform_azimuth:
            part = (torch.rand(self.batch_size) + torch.arange(self.batch_size)) / self.batch_size
            return part * (high - low) + low
        return uniform(self.batch_size, low, high)

    def _lights(self, camera: Tensor) -> Tensor:
        n = self.batch_size
        distance = uniform(n, *self.cfg.light_distance_range)
        if self.cfg.light_sample_strategy == "dreamfusion":  # around the camera
            noise = torch.randn(n, 3) * self.cfg.light_position_perturb
            return F.normalize(camera + noise, dim=-1) * distance[:, None]
        # magic3d: 30 to 90 degrees above the plane that the viewing axis is perpendicular to
        z = F.normalize(camera, dim=-1)
        x = F.normalize(torch.stack([z[:, 1], -z[:, 0], torch.zeros(n)], -1), dim=-1)
        axes = torch.stack([x, F.normalize(torch.linalg.cross(z, x), dim=-1), z], -1)
        azimuth = uniform(n, -math.pi, math.pi)
        elevation = uniform(n, math.pi / 6, math.pi / 2)
        return (axes @ camera_position(elevation, azimuth, distance)[..., None])[..., 0]


class RandomCameraDataset(Dataset):
    """Fixed cameras all round at one elevation, lit from the camera: `n_val_views` or
    `n_test_views`.
    """

    def __init__(self, cfg: Any, split: str) -> None:
        super().__init__()
        self.cfg: RandomCameraDataModuleConfig = cfg
        self.split = split
        self.n_views = cfg.n_val_views if split == "val" else cfg.n_test_views
        # the first and the last picture of a video meet, views of a validation do not
        turn = torch.linspace(0, 360, self.n_views + (split == "val"))[: self.n_views]
        degrees = {
            "elevation": torch.full_like(turn, cfg.eval_elevation_deg),
            "azimuth": turn,
            "camera_distances": torch.full_like(turn, cfg.eval_camera_distance),
        }
        position = camera_position(
            torch.deg2rad(degrees["elevation"]), torch.deg2rad(turn), degrees["camera_distances"]
        )
        up = torch.tensor([0.0, 0.0, 1.0]).expand_as(position)
        fovy = torch.deg2rad(torch.full_like(turn, cfg.eval_fovy_deg))
        self.views = {
            **camera_batch(
                look_at(position, torch.zeros_like(position), up),
                fovy,
                cfg.eval_height,
                cfg.eval_width,
                cfg.rays_d_normalize,
            ),
            "camera_positions": position,
            "light_positions": position,
            **degrees,
        }

    def __len__(self) -> int:
        return self.n_views

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"index": index, **{name: values[index] for name, values in self.views.items()}}

    def collate(self, batch: Any) -> dict[str, Any]:
        return {**default_collate(batch), "height": self.cfg.eval_height, "width": self.cfg.eval_width}


@threestudio.register("random-camera-datamodule")
class RandomCameraDataModule(LightningDataModule):
    """Random cameras to train on, turns around the scene to look at."""

    cfg: RandomCameraDataModuleConfig

    def __init__(self, cfg: Any = None) -> None:
        super().__init__()
        self.cfg = parse_structured(RandomCameraDataModuleConfig, cfg)

    def setup(self, stage: str | None = None) -> None:
        if stage in (None, "fit"):
            self.train_dataset = RandomCameraIterableDataset(self.cfg)
        if stage in (None, "fit", "validate"):
            self.val_dataset = RandomCameraDataset(self.cfg, "val")
        if stage in (None, "test", "predict"):
            self.test_dataset = RandomCameraDataset(self.cfg, "test")

    def _loader(self, dataset: Any, batch_size: int | None) -> DataLoader:
        # no workers: the data set hears about every step, which a copy in another process would not
        return DataLoader(dataset, num_workers=0, batch_size=batch_size, collate_fn=dataset.collate)

    def train_dataloader(self) -> DataLoader:
        return self._loader(self.train_dataset, None)

    def val_dataloader(self) -> DataLoader:
        return self._loader(self.val_dataset, 1)

    def test_dataloader(self) -> DataLoader:
        return self._loader(self.test_dataset, 1)

    predict_dataloader = test_dataloader
