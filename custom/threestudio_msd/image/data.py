"""`msd-image-datamodule`: pixel coordinates, and which particles to render."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Optional

import threestudio
import torch
from threestudio.utils.base import Updateable
from threestudio.utils.config import parse_structured
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from ..fields import FieldError, check_fields, number
from ..processes import share

try:  # the portable host imports Lightning when a data module is built
    from threestudio.utils.lightning import LightningDataModule
except ImportError:
    from pytorch_lightning import LightningDataModule


@dataclass
class ImageDataModuleConfig:
    """Settings of `msd-image-datamodule`.

    Attributes:
        n_particles: Images optimised, each from its own seed.
        batch_size: Particles rendered at once, a divisor of `n_particles`; None is all.
            With fewer than all, `trainer.accumulate_grad_batches` must be `n_particles
            / batch_size`: an optimiser step is then still one step of every particle,
            in less memory.
        height: Pixels in training.
        width: Pixels in training.
        eval_height: Pixels in validation and test.
        eval_width: Pixels in validation and test.

    Raises:
        FieldError: A number is below 1, or `batch_size` does not divide `n_particles`.
    """

    n_particles: int = number(1, least=1)
    batch_size: Optional[int] = number(None, least=1)  # noqa: UP045  (OmegaConf reads the annotation)
    height: int = number(64, least=1)
    width: int = number(64, least=1)
    eval_height: int = number(64, least=1)
    eval_width: int = number(64, least=1)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.batch_size and self.n_particles % self.batch_size:
            raise FieldError(
                f"batch_size: expected null or a divisor of n_particles, {self.n_particles}, "
                f"got {self.batch_size}"
            )


def pixel_centres(height: int, width: int) -> Tensor:
    """Return the coordinates (x, y) in [0, 1]^2 of all pixels' centres, row by row from
    the top left, `[height * width, 2]`.
    """
    y = (torch.arange(height) + 0.5) / height
    x = (torch.arange(width) + 0.5) / width
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(-1, 2)


def make_batch(height: int, width: int, index: Tensor) -> dict[str, Any]:
    """Make the batch that a system and a guidance take: coordinates, particles, and
    cameras at the front.

    Args:
        height: Pixels.
        width: Pixels.
        index: Numbers of the particles to render, `[B]`.

    Returns:
        `coordinates`, `[height * width, 2]`; `height` and `width`; `index`, `[B]`; and
        `elevation`, `azimuth` and `camera_distances`, zeros `[B]`.
    """
    cameras = {name: torch.zeros(len(index)) for name in ("elevation", "azimuth", "camera_distances")}
    return {
        "coordinates": pixel_centres(height, width),
        "height": height,
        "width": width,
        "index": index,
        **cameras,
    }


class ImageIterableDataset(IterableDataset, Updateable):
    """An endless dataset of training batches: all particles, or groups of `batch_size`
    in turn.

    An item is a dict with `coordinates`, `[N, 2]`, `height`, `width`, `index`, `[B]`,
    the particles' numbers, and zero cameras, `[B]` (see `make_batch`). If several
    processes share the work, each gets a fixed part of every group; iteration raises
    UserError if they cannot share it evenly.
    """

    def __init__(self, cfg: ImageDataModuleConfig) -> None:
        self.cfg = cfg
        self.groups = torch.arange(cfg.n_particles).split(cfg.batch_size or cfg.n_particles)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        mine = share(len(self.groups[0]), "data.batch_size, or data.n_particles where that is null")
        yield from cycle(make_batch(self.cfg.height, self.cfg.width, group[mine]) for group in self.groups)


class ImageDataset(Dataset):
    """A dataset of one item, the batch of all particles at the size of evaluation, with
    the keys of `make_batch`.

    Any other item raises IndexError.
    """

    def __init__(self, cfg: ImageDataModuleConfig) -> None:
        self.cfg = cfg

    def __len__(self) -> int:
        return 1

    def __getitem__(self, item: int) -> dict[str, Any]:
        if item != 0:
            raise IndexError(item)
        return make_batch(self.cfg.eval_height, self.cfg.eval_width, torch.arange(self.cfg.n_particles))


@threestudio.register("msd-image-datamodule")
class ImageDataModule(LightningDataModule):
    """The Lightning data module of text-to-2D runs.

    Training yields groups of particles without end (`ImageIterableDataset`);
    validation, test and prediction yield one batch of all particles (`ImageDataset`).

    Args:
        cfg: A mapping with the fields of `ImageDataModuleConfig`, whose errors it
            raises.
    """

    cfg: ImageDataModuleConfig

    def __init__(self, cfg: Any = None) -> None:
        super().__init__()
        self.cfg = parse_structured(ImageDataModuleConfig, cfg or {})

    def setup(self, stage: str | None = None) -> None:
        self.train_dataset = ImageIterableDataset(self.cfg)
        self.eval_dataset = ImageDataset(self.cfg)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.train_dataset, batch_size=None)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.eval_dataset, batch_size=None)

    test_dataloader = predict_dataloader = val_dataloader
