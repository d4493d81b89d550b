"""DeepFloyd IF, first stage: a UNet over pixels that predicts its variance too, under
T5's hidden states.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from ..calls import call_mean, call_unet, hidden_states, vp_denoiser
from ..codec import PixelCodec
from ..denoisers import VPDenoiser
from ..embeddings import Embeddings
from ..family import FAMILIES, Family, Parts


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
