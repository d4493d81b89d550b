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
    """An endless dataset that visits a fixed set of cameras in turn, each batch spread
    evenly around the scene.

    Iteration yields step numbers, which `collate` turns into batches.

    Args:
        cfg: The settings.
        first: Returns the number of the first batch: 0, unless a run is resumed.
    """

    def __init__(self, cfg: CameraDataModuleConfig, first: Callable[[], int]) -> None:
        super().__init__(cfg)
        self.first = first
        self.cameras = {**draw_cameras(cfg), "index": torch.arange(cfg.n_cameras)}

    def __iter__(self) -> Iterator[dict[str, int]]:
        return ({"step": step} for step in count(self.first()))

    def collate(self, batch: dict[str, int]) -> dict[str, Any]:
        """Make the batch of one step; steps visit the n_cameras / batch_size groups of
        cameras in turn.

        Args:
            batch: `{"step": number of the step}`.

        Returns:
            The keys of threestudio's random cameras, B rows each; `index`, `[B]`, the
            cameras' numbers; `height` and `width`. If several processes share the work,
            each gets a fixed part of the rows.

        Raises:
            UserError: The processes cannot share `batch_size` evenly.
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
    """Draw all cameras as one batch of threestudio's random ones, from `cfg.seed`
    alone.

    The global random generators are left as they were.

    Returns:
        The batch's tensors by name, `cfg.n_cameras` rows each.
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
