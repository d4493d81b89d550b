"""DeepFloyd IF, first stage: a UNet over pixels that predicts its variance too, under T5's hidden states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...distillation.protocols import Batch
from ..calls import UNetCall, vp_denoiser
from ..denoisers import Condition, Levels, VPDenoiser
from ..family import FAMILIES, Embeddings, Family, Parts
from ..spaces import Pixels


@dataclass(frozen=True)
class MeanOnly:
    """A network whose output has further channels for the variance, which are left out here."""

    network: Callable[..., Tensor]

    def __call__(self, sample: Batch, time: Levels, **condition: Tensor) -> Batch:
        """The raw prediction."""
        return self.network(sample, time, **condition)[:, : sample.shape[1]]


def denoiser(parts: Parts, dtype: torch.dtype) -> VPDenoiser:
    """The UNet without its variance."""
    return vp_denoiser(MeanOnly(UNetCall(parts.backbone)), parts.scheduler, dtype)


def condition(parts: Parts, embeddings: Embeddings) -> Condition:
    """The hidden states."""
    return {"encoder_hidden_states": embeddings}


def embed(pipeline: Any, prompts: list[str]) -> Embeddings:
    """The T5 encoder's last hidden states."""
    tokens, _ = pipeline.encode_prompt(
        prompts, do_classifier_free_guidance=False, num_images_per_prompt=1, device=pipeline.device
    )
    return tokens.float()


def resolution(parts: Parts) -> int:
    """The UNet's own."""
    return parts.backbone.config.sample_size


def pixels(parts: Parts) -> Pixels:
    """There is no autoencoder."""
    return Pixels()


FAMILIES["IFPipeline"] = Family(
    name="DeepFloyd IF",
    since="0.20",
    backbone=("unet", "UNet2DConditionModel"),
    denoiser=denoiser,
    condition=condition,
    embed=embed,
    resolution=resolution,
    space=pixels,
    vae=None,
)
