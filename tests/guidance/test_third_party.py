"""Systems of other extensions, as their public sources call their guidance.

threestudio-3dgs (commit 8c2ab7b): everything of the batch, two backward passes of its own, all is logged.
threestudio-mvdream (commit 0c7a594): everything of the batch and no `rgb_as_latents`, all is logged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import pytorch_lightning as pl
import threestudio
import torch
from guidance.stand_ins import PromptUtils
from threestudio.systems.base import BaseSystem
from threestudio_msd.guidance import MSDGuidance, SDSGuidance

STEPS = 2


class StandIn(BaseSystem):
    """A picture that both cameras see; a subclass trains it as an extension's system does."""

    @dataclass
    class Config(BaseSystem.Config):
        guidance_type: str = ""
        guidance: dict = field(default_factory=dict)
        visualize_samples: bool = False

    cfg: Config

    def configure(self) -> None:
        self.guidance = threestudio.find(self.cfg.guidance_type)(self.cfg.guidance)
        self.prompt_utils = PromptUtils()
        self.picture = torch.nn.Parameter(torch.full((1, 16, 16, 3), 0.5))
        self.losses: list[float] = []

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD([self.picture], 1e-3)

    def weighted(self, guidance_out: dict[str, Any]) -> torch.Tensor:
        """As both extensions do: every value is logged, every loss weighed."""
        loss = 0.0
        for name, value in guidance_out.items():
            self.log(f"train/{name}", value)
            if name.startswith("loss_"):
                loss += value * self.C(self.cfg.loss[name.replace("loss_", "lambda_")])
        self.losses.append(float(loss.detach()))
        return loss


class Gaussian(StandIn):
    """gaussian-splatting-system, and its mvdream variant."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.automatic_optimization = False

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, torch.Tensor]:
        optimizer = self.optimizers()
        renders = self.picture.expand(len(batch["c2w"]), -1, -1, -1)
        out = self.guidance(renders, self.prompt_utils, **batch, rgb_as_latents=False)
        loss = self.weighted(out)
        loss.backward(retain_graph=True)
        (0.1 * renders.square().mean()).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return {"loss": loss}


class MVDream(StandIn):
    """mvdream-system."""

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, torch.Tensor]:
        renders = self.picture.expand(len(batch["c2w"]), -1, -1, -1)
        return {"loss": self.weighted(self.guidance(renders, self.prompt_utils, **batch))}


@pytest.mark.parametrize("kind", [Gaussian, MVDream])
@pytest.mark.parametrize("guidance", [MSDGuidance, SDSGuidance])
def test_other_extensions_systems_train_with_it(tmp_path, random_pipeline, kind, guidance):
    name = guidance.name
    system = kind(
        {
            "guidance_type": next(key for key, cls in threestudio.__modules__.items() if cls is guidance),
            "guidance": {"pretrained_model_name_or_path": str(random_pipeline), "trainer_max_steps": STEPS},
            "loss": {f"lambda_{name}": 0.1},
        }
    )
    sizes = dict.fromkeys(("height", "width", "eval_height", "eval_width"), 16)
    data = threestudio.find("random-camera-datamodule")({**sizes, "batch_size": 2})
    before = system.picture.detach().clone()
    trainer = pl.Trainer(
        max_steps=STEPS,
        accelerator="cpu",
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    trainer.fit(system, datamodule=data)
    assert len(system.losses) == STEPS
    assert all(loss > 0 for loss in system.losses)
    assert not torch.equal(system.picture.detach(), before)
    assert {f"train/loss_{name}", "train/nfe", "train/grad_norm"} <= set(trainer.callback_metrics)
