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
    """Settings of `msd-camera-datamodule`: those of `random-camera-datamodule`, and two
    more.

    Attributes:
        n_cameras: Number of cameras, a multiple of `batch_size`; their azimuths are
            spread evenly.
        seed: Seed that the cameras are drawn from.

    Raises:
        ValueError: `height`, `width` or `batch_size` is a list instead of a number, or
            `n_cameras` is no positive multiple of `batch_size`.
    """

    # how many cameras there are at a time, a multiple of batch_size; their azimuths are spread evenly
    cameras_per_round: int = 24
    # how often all cameras are drawn; 1: the same ones in the whole run
    rounds: int = 1
    # steps that fit a target: visits of each camera of a round, or fits of rays of all of them
    refresh_every: int = 1
    # rays of a fit, of all cameras of the round together, with msd-scene; 0: whole views, batch_size
    # at once
    rays_per_fit: int = 0
    # radius about the origin that those rays meet: that of the geometry
    rays_within: float = 1.0
    # of the cameras
    seed: int = 0
    # former name of cameras_per_round
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
    """Without end: a round's cameras in turn, each batch spread evenly around the scene;
    or rays of all of them.

    A batch has the keys of the host's random cameras, `index [B]`, the cameras' numbers
    within the round, and `round`. `first` returns the number of the first batch, 0
    unless a run is resumed. If several processes share the work, each has a fixed part
    of every batch. The last round's cameras stay for further steps.
    """

    def __init__(self, cfg: CameraDataModuleConfig, first: Callable[[], int]) -> None:
        super().__init__(cfg)
        self.first = first
        self.groups = 1 if cfg.rays_per_fit else cfg.cameras_per_round // cfg.batch_size
        self.drawn: int | None = None

    def __iter__(self) -> Iterator[dict[str, int]]:
        return ({"step": step} for step in count(self.first()))

    def collate(self, batch: dict[str, int]) -> dict[str, Any]:
        """The batch of one step: a group of the round's cameras, or rays of all."""
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
        """The cameras of one step: with G groups, those of index g, g + G, g + 2 G,
        ...
        """
        rows = slice(step % self.groups, None, self.groups)
        mine = share(self.cfg.batch_size, "data.batch_size")
        return {name: value[rows][mine] for name, value in self.cameras.items()}

    def _rays(self, step: int) -> dict[str, Any]:
        """All cameras of this process, and which of their rays a step fits.

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
    """Draw all cameras of a round as one batch of the host's random ones, from
    `cfg.seed` and the round's number alone.
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
