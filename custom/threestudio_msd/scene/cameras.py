"""`msd-camera-datamodule`: cameras that come again, so that each keeps its target; in
rounds, if asked for, each of which has cameras of its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Optional

import threestudio
import torch
from threestudio.data.uncond import (
    RandomCameraDataModule,
    RandomCameraDataModuleConfig,
    RandomCameraIterableDataset,
)
from threestudio.utils.config import parse_structured
from torch import Tensor

from ..distillation.noise import seed_from
from ..errors import UserError
from ..processes import place, share


@dataclass
class CameraDataModuleConfig(RandomCameraDataModuleConfig):
    """Settings of `msd-camera-datamodule`, beside those of `random-camera-datamodule`.

    Attributes:
        cameras_per_round: Number of cameras at a time, a multiple of `batch_size`;
            their azimuths are spread evenly.
        rounds: How often all cameras are drawn; 1: the same ones in the whole run.
        refresh_every: Steps that fit a target: visits of each camera of a round, or
            fits of rays of all of them.
        rays_per_fit: Rays of a step, of all cameras of the round together, with the
            system msd-scene; 0: whole views, `batch_size` at once.
        rays_within: Radius about the origin that those rays meet, that of the geometry.
        seed: Seed that the cameras and rays are drawn from.
        n_cameras: Former name of `cameras_per_round`.

    Raises:
        ValueError: `height`, `width` or `batch_size` is a list instead of a number,
            `cameras_per_round` is no positive multiple of `batch_size`, or a number is
            too small.
    """

    cameras_per_round: int = 24
    rounds: int = 1
    refresh_every: int = 1
    rays_per_fit: int = 0
    rays_within: float = 1.0
    seed: int = 0
    n_cameras: Optional[int] = None  # noqa: UP045  (OmegaConf reads the annotation)

    def __post_init__(self) -> None:
        if hasattr(super(), "__post_init__"):  # threestudio's own settings have none
            super().__post_init__()
        if self.n_cameras is not None:
            threestudio.warn("data.n_cameras is called data.cameras_per_round now")
            self.cameras_per_round, self.n_cameras = self.n_cameras, None
        if not all(isinstance(size, int) for size in (self.height, self.width, self.batch_size)):
            raise ValueError("height, width and batch_size must be numbers: kept cameras do not change size")
        if self.batch_size < 1 or self.cameras_per_round < 1 or self.cameras_per_round % self.batch_size:
            raise ValueError(
                f"cameras_per_round must be a multiple of batch_size = {self.batch_size}, "
                f"got {self.cameras_per_round}"
            )
        for name, least in (("rounds", 1), ("refresh_every", 1), ("rays_per_fit", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")


class CameraIterableDataset(RandomCameraIterableDataset):
    """An endless dataset that visits the cameras of a round in turn, each batch spread
    evenly around the scene; or has rays of all of them in every batch.

    Iteration yields step numbers, which `collate` turns into batches. The last round's
    cameras stay for further steps.

    Args:
        cfg: The settings.
        first: Returns the number of the first batch: 0, unless a run is resumed.
    """

    def __init__(self, cfg: CameraDataModuleConfig, first: Callable[[], int]) -> None:
        super().__init__(cfg)
        self.first = first
        self.groups = 1 if cfg.rays_per_fit else cfg.cameras_per_round // cfg.batch_size
        self.drawn: int | None = None

    def __iter__(self) -> Iterator[dict[str, int]]:
        return ({"step": step} for step in count(self.first()))

    def collate(self, batch: dict[str, int]) -> dict[str, Any]:
        """Make the batch of one step: a group of the round's cameras, or all with rays.

        Args:
            batch: `{"step": number of the step}`.

        Returns:
            The keys of threestudio's random cameras, B rows each; `index`, `[B]`, the
            cameras' numbers within the round; `round`, `height` and `width`; and those
            of `_rays`. If several processes share the work, each gets a fixed part of
            the rows.

        Raises:
            UserError: The processes cannot share the cameras or rays evenly, or no ray
                meets the ball.
        """
        step = batch["step"]
        self._draw(min(step // (self.groups * self.cfg.refresh_every), self.cfg.rounds - 1))
        chosen = self._rays(step) if self.cfg.rays_per_fit else self._group(step)
        return {**chosen, "round": self.drawn, "height": self.cfg.height, "width": self.cfg.width}

    def _draw(self, number: int) -> None:
        """Draw a round's cameras, once."""
        if number != self.drawn:
            self.drawn = number
            self.cameras = {
                **draw_cameras(self.cfg, number),
                "index": torch.arange(self.cfg.cameras_per_round),
            }

    def _group(self, step: int) -> dict[str, Any]:
        """Select the cameras of one step: with G groups, index g, g + G, g + 2 G, ..."""
        rows = slice(step % self.groups, None, self.groups)
        mine = share(self.cfg.batch_size, "data.batch_size")
        return {name: value[rows][mine] for name, value in self.cameras.items()}

    def _rays(self, step: int) -> dict[str, Any]:
        """Select this process' cameras, and draw which of their rays a step fits.

        Returns:
            Beside the cameras: `rays`, numbers of pixels, drawn from seed, process and
            step among those that meet the ball of `rays_within`; `rays_per_view`, how
            many of a view do; and `at_once`, the views to be rendered together.
        """
        cameras = {
            name: value[share(self.cfg.cameras_per_round, "data.cameras_per_round")]
            for name, value in self.cameras.items()
        }
        origins, directions = cameras["rays_o"], cameras["rays_d"]
        off = torch.linalg.cross(origins, directions).norm(dim=-1) / directions.norm(dim=-1)
        met = torch.nonzero(off.flatten() < self.cfg.rays_within)[:, 0]
        if not len(met):
            raise UserError(f"data.rays_within: no ray meets a ball of radius {self.cfg.rays_within:g}")
        generator = torch.Generator().manual_seed(seed_from(self.cfg.seed, "rays", place()[0], step))
        rays = len(range(self.cfg.rays_per_fit)[share(self.cfg.rays_per_fit, "data.rays_per_fit")])
        return {
            **cameras,
            "rays": met[torch.randint(len(met), (rays,), generator=generator)],
            "rays_per_view": len(met) / len(origins),
            "at_once": self.cfg.batch_size,
        }


def draw_cameras(cfg: CameraDataModuleConfig, number: int = 0) -> dict[str, Tensor]:
    """Draw the cameras of a round as one batch of threestudio's random ones, from
    `cfg.seed` and the round's number alone.

    The global random generators are left as they were.

    Returns:
        The batch's tensors by name, `cfg.cameras_per_round` rows each.
    """
    settings = {**cfg, "batch_size": cfg.cameras_per_round, "batch_uniform_azimuth": True}
    seed = seed_from(cfg.seed, "cameras", number) if number else cfg.seed
    state = random.getstate()
    with torch.random.fork_rng(devices=[]):
        random.seed(seed)
        torch.manual_seed(seed)
        batch = RandomCameraIterableDataset(CameraDataModuleConfig(**settings)).collate(None)
    random.setstate(state)
    return {name: value for name, value in batch.items() if isinstance(value, Tensor)}


@threestudio.register("msd-camera-datamodule")
class CameraDataModule(RandomCameraDataModule):
    """The Lightning data module of text-to-3D runs that trains on a fixed set of
    cameras.

    Validation and test are as in `random-camera-datamodule`.

    Args:
        cfg: A mapping with the fields of `CameraDataModuleConfig`, whose errors it
            raises.
    """

    cfg: CameraDataModuleConfig

    def __init__(self, cfg: Any = None) -> None:
        super(RandomCameraDataModule, self).__init__()  # not the parent's, which reads other settings
        self.cfg = parse_structured(CameraDataModuleConfig, cfg)

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        if stage in (None, "fit"):
            self.train_dataset = CameraIterableDataset(self.cfg, self._batches_done)

    def _batches_done(self) -> int:
        """Count the batches before this one; a resumed run continues with the next
        cameras.
        """
        trainer = self.trainer
        return 0 if trainer is None else trainer.global_step * trainer.accumulate_grad_batches
