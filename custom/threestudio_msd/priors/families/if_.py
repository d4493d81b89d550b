"""DeepFloyd IF, first stage: a UNet over pixels that predicts its variance too, under
T5's hidden states.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...distillation.protocols import Batch
from ..calls import call_unet, hidden_states, vp_denoiser
from ..codec import PixelCodec
from ..denoisers import Levels, VPDenoiser
from ..embeddings import Embeddings
from ..family import FAMILIES, Family, Parts


def call_mean(network: Callable[..., Tensor], sample: Batch, time: Levels, **condition: Tensor) -> Batch:
    """Call the network and return its prediction alone, shaped like `sample`, without
    the variance's channels.
    """
    return network(sample, time, **condition)[:, : sample.shape[1]]


def denoiser(parts: Parts, dtype: torch.dtype) -> VPDenoiser:
    call = partial(call_mean, partial(call_unet, parts.backbone))
    return vp_denoiser(call, parts.scheduler, dtype)


def embed(pipeline: Any, prompts: list[str]) -> Embeddings:
    tokens, _ = pipeline.encode_prompt(
        prompts, do_classifier_free_guidance=False, num_images_per_prompt=1, device=pipeline.device
    )
    return Embeddings(tokens)


FAMILIES["IFPipeline"] = Family(
    name="DeepFloyd IF",
    since="0.20",
    backbone=("unet", "UNet2DConditionModel"),
    denoiser=denoiser,
    condition=hidden_states,
    embed=embed,
    resolution=lambda parts: parts.backbone.config.sample_size,
    codec=lambda parts: PixelCodec(),
    vae=None,
)
