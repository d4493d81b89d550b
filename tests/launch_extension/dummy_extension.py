"""An extension of a few lines: a system that fits a parabola, drawing random numbers in every step."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import threestudio
import torch
from threestudio.systems.base import BaseSystem
from threestudio.utils.base import BaseObject
from threestudio.utils.config import parse_structured
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset


@dataclass
class DummyDataConfig:
    size: int = 4


class Points(Dataset):
    def __init__(self, size):
        self.x = torch.linspace(-1, 1, size)[:, None]

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return {"x": self.x}


class EndlessPoints(IterableDataset):
    def __init__(self, size):
        self.points = Points(size)

    def __iter__(self):
        while True:
            yield self.points[0]


@threestudio.register("dummy-datamodule")
class DummyDataModule(pl.LightningDataModule):
    cfg: DummyDataConfig

    def __init__(self, cfg=None):
        super().__init__()
        self.cfg = parse_structured(DummyDataConfig, cfg)

    def train_dataloader(self):
        return DataLoader(EndlessPoints(self.cfg.size), batch_size=None)

    def val_dataloader(self):
        return DataLoader(Points(self.cfg.size), batch_size=None)

    test_dataloader = predict_dataloader = val_dataloader


@threestudio.register("dummy-guidance")
class DummyGuidance(BaseObject):
    @dataclass
    class Config(BaseObject.Config):
        noise: float = 0.1
        bandwidth: Any = 1.0
        inner_type: str = "dummy-inner"
        inner: dict = field(default_factory=dict)

        def __post_init__(self):
            if self.noise < 0:
                raise ValueError(f"noise must not be negative, got {self.noise}")


@threestudio.register("dummy-inner")
class DummyInner(BaseObject):
    @dataclass
    class Config(BaseObject.Config):
        steps: int = 8


@threestudio.register("dummy-system")
class DummySystem(BaseSystem):
    @dataclass
    class Config(BaseSystem.Config):
        delay: float = 0.0
        fail_at: int = -1
        missing_model: bool = False
        guidance_type: str = "dummy-guidance"
        guidance: dict = field(default_factory=dict)

    def configure(self):
        self.net = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1))
        self.guidance = threestudio.find(self.cfg.guidance_type)(self.cfg.guidance)

    def on_fit_start(self):
        if self.cfg.missing_model:
            raise OSError("no text_encoder for the model 'no-such/model'")

    def training_step(self, batch, batch_idx):
        time.sleep(self.cfg.delay)
        if self.global_step == self.cfg.fail_at:
            raise FloatingPointError(f"NaN in the target at step {self.global_step}")
        target = batch["x"] ** 2 + self.guidance.cfg.noise * torch.randn_like(batch["x"])
        loss = ((self.net(batch["x"]) - target) ** 2).mean()
        self.log("train/loss_fit", loss)
        self.log("train/bandwidth", self.C(self.guidance.cfg.bandwidth))
        return loss * self.C(self.cfg.loss.lambda_fit)

    def note(self, name, values):
        Path(self.get_save_path(name)).write_text(json.dumps(values))

    def validation_step(self, batch, batch_idx):
        torch.rand(3)  # validation draws too, which must not change the training
        self.note(f"it{self.true_global_step}-val.json", self.net(batch["x"]).flatten().tolist())

    def on_validation_epoch_end(self):
        pass

    def test_step(self, batch, batch_idx):
        self.note(f"it{self.true_global_step}-test.json", self.net(batch["x"]).flatten().tolist())
