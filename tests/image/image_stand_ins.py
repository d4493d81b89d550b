"""A prompt processor without a text encoder, and guidances that pull renders to a known picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

import pytorch_lightning as pl
import threestudio
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from threestudio.utils.base import BaseModule, BaseObject
from threestudio_msd.image.data import ImageDataModule
from threestudio_msd.image.system import ImageSystem


@threestudio.register("test-prompt-processor")
class PromptProcessor(BaseObject):
    """Keeps its prompt."""

    @dataclass
    class Config(BaseObject.Config):
        prompt: str = "a red mug"
        pretrained_model_name_or_path: str = ""

    def __call__(self) -> str:
        return self.cfg.prompt


def target(index: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Particle i's picture: a disc whose place and colour depend on i; `[B, H, W, 3]`."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    discs = []
    for i in index.tolist():
        inside = (x - 0.35 - 0.1 * (i % 4)) ** 2 + (y - 0.5) ** 2 < 0.07
        colour = torch.tensor([0.9 - 0.2 * (i % 3), 0.2 + 0.2 * (i % 4), 0.3])
        discs.append(torch.where(inside[..., None], colour, torch.tensor(0.85)))
    return torch.stack(discs)


@threestudio.register("test-guidance")
class Guidance(BaseObject):
    """Half the squared distance to `target`, plus noise of the step; its state is how often it was called."""

    @dataclass
    class Config(BaseObject.Config):
        noise: float = 0.0
        nan_at: Optional[int] = None  # noqa: UP045  (OmegaConf reads the annotation)
        finished_at: Optional[int] = None  # noqa: UP045

    def configure(self) -> None:
        self.calls, self.step = 0, 0
        self.frozen = torch.nn.Linear(3, 3)
        self.seen: list[dict[str, Any]] = []

    def update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        self.step = global_step

    def __call__(self, rgb: torch.Tensor, prompt_utils: str, **batch: Any) -> dict[str, Any]:
        self.calls += 1
        self.seen.append(batch)
        wanted = target(batch["index"], *rgb.shape[1:3])
        # uses its own count, so that a resumed run that forgets it ends elsewhere
        generator = torch.Generator().manual_seed(self.calls)
        wanted = wanted + self.cfg.noise * torch.randn(wanted.shape[1:], generator=generator)
        loss = 0.5 * ((rgb - wanted) ** 2).sum() / len(rgb)
        return {
            "loss_pull": loss * float("nan") if self.step == self.cfg.nan_at else loss,
            "bandwidth": torch.tensor(6.0 / (1 + self.step)),
            "nfe": self.calls,
            "images": rgb,
            "finished": float(self.cfg.finished_at is not None and self.step >= self.cfg.finished_at),
        }

    def checkpoint_state(self) -> dict[str, Any]:
        return {"calls": self.calls}

    def load_checkpoint_state(self, state: dict[str, Any]) -> None:
        self.calls = state["calls"]


@threestudio.register("test-trainable-guidance")
class TrainableGuidance(BaseModule):
    """Has a parameter of its own, as VSD has, and a loss that trains it; offers no checkpoint state."""

    def configure(self) -> None:
        self.phi = torch.nn.Parameter(torch.zeros(3))

    def forward(self, rgb: torch.Tensor, prompt_utils: str, **batch: Any) -> dict[str, Any]:
        return {
            "loss_pull": 0.5 * ((rgb - 0.2) ** 2).sum() / len(rgb),
            "loss_phi": (self.phi - rgb.detach().mean((0, 1, 2))).square().sum(),
        }


def image_system(folder: Any, particles: int = 2, **changes: Any) -> ImageSystem:
    """A small system with the stand-ins; `changes` replace settings of the system."""
    system = ImageSystem(
        {
            "geometry": {
                "n_particles": particles,
                "width": 32,
                "depth": 2,
                "encoding": {"n_frequencies": 16, "scale": 2.0},
            },
            "guidance_type": "test-guidance",
            "prompt_processor_type": "test-prompt-processor",
            "prompt_processor": {"prompt": "a red mug"},
            "loss": {"lambda_pull": 1.0},
            "optimizer": {"name": "AdamW", "args": {"lr": 0.02, "eps": 1e-15}, "params": {"geometry": {}}},
            **changes,
        }
    )
    system.set_save_dir(str(folder / "save"))
    return system


def image_data(particles: int = 2, size: int = 16, **changes: Any) -> ImageDataModule:
    sizes = {"height": size, "width": size, "eval_height": size, "eval_width": size}
    return ImageDataModule({"n_particles": particles, **sizes, **changes})


def trainer(folder: Any, steps: int, save_every: int = 1000, **settings: Any) -> pl.Trainer:
    """A trainer that is quiet, keeps metrics as CSV, and saves `last.ckpt` every so many steps."""
    checkpoint = ModelCheckpoint(
        dirpath=str(folder / "ckpts"), save_last=True, save_top_k=-1, every_n_train_steps=save_every
    )
    return pl.Trainer(
        max_steps=steps,
        accelerator="cpu",
        inference_mode=False,
        callbacks=[checkpoint],
        logger=pl.loggers.CSVLogger(folder, name="csv_logs"),
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"val_check_interval": 1000, **settings},
    )
