"""`msd-camera-datamodule`: a fixed set of cameras, visited in turn, so that each keeps
its target.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import threestudio
import torch
from threestudio.data.uncond import (
    RandomCameraDataModule,
    RandomCameraDataModuleConfig,
    RandomCameraIterableDataset,
)
from threestudio.utils.config import parse_structured
from torch import Tensor

from ..processes import share


@dataclass
class CameraDataModuleConfig(RandomCameraDataModuleConfig):
    """Settings of `msd-camera-datamodule`, beside those of
    `random-camera-datamodule`.
    """

    # how many cameras there are, a multiple of batch_size; their azimuths are spread evenly
    n_cameras: int = 24
    # of the cameras
    seed: int = 0

    def __post_init__(self) -> None:
        if hasattr(super(), "__post_init__"):  # threestudio's own settings have none
            super().__post_init__()
        if not all(isinstance(size, int) for size in (self.height, self.width, self.batch_size)):
            raise ValueError("height, width and batch_size must be numbers: kept cameras do not change size")
        if self.n_cameras < 1 or self.batch_size < 1 or self.n_cameras % self.batch_size:
            raise ValueError(
                f"n_cameras must be a multiple of batch_size = {self.batch_size}, got {self.n_cameras}"
            )


class CameraIterableDataset(RandomCameraIterableDataset):
    """Without end: the cameras in turn, each batch spread evenly around the scene.

    A batch has the keys of the host's random cameras and `index [B]`, the cameras'
    numbers. `first` returns the number of the first batch, 0 unless a run is resumed.
    If several processes share the work, each has a fixed part of every batch.
    """

    def __init__(self, cfg: CameraDataModuleConfig, first: Callable[[], int]) -> None:
        super().__init__(cfg)
        self.first = first
        self.cameras = {**draw_cameras(cfg), "index": torch.arange(cfg.n_cameras)}

    def __iter__(self) -> Iterator[dict[str, int]]:
        return ({"step": step} for step in count(self.first()))

    def collate(self, batch: dict[str, int]) -> dict[str, Any]:
        """The cameras of one step: with G groups, those of index g, g + G, g + 2 G,
        ...
        """
        groups = self.cfg.n_cameras // self.cfg.batch_size
        rows, mine = (
            slice(batch["step"] % groups, None, groups),
            share(self.cfg.batch_size, "data.batch_size"),
        )
        return {
            **{name: value[rows][mine] for name, value in self.cameras.items()},
            "height": self.cfg.height,
            "width": self.cfg.width,
        }


def draw_cameras(cfg: CameraDataModuleConfig) -> dict[str, Tensor]:
    """Draw all cameras as one batch of the host's random ones, from `cfg.seed`
    alone.
    """
    settings = {**cfg, "batch_size": cfg.n_cameras, "batch_uniform_azimuth": True}
    state = random.getstate()
    with torch.random.fork_rng(devices=[]):
        random.seed(cfg.seed)
        torch.manual_seed(cfg.seed)
        batch = RandomCameraIterableDataset(CameraDataModuleConfig(**settings)).collate(None)
    random.setstate(state)
    return {name: value for name, value in batch.items() if isinstance(value, Tensor)}


@threestudio.register("msd-camera-datamodule")
class CameraDataModule(RandomCameraDataModule):
    """Kept cameras to train on; validation and test as in
    `random-camera-datamodule`.
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
