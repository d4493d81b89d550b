"""Z-Image: a transformer over ragged prompts and latents; a flow whose time runs from noise to data."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from ...distillation.protocols import Batch
from ..calls import flow_schedule
from ..denoisers import FlowDenoiser, Levels
from ..embeddings import Embeddings
from ..family import FAMILIES, Family, Parts, vae_resolution
from ..rescaled import RescaledOptions, norm_over, rescaled
from ..transformer import Tokens, call_reversed, masked_layout, masked_states


def call_z_image(
    transformer: Any,
    sample: Batch,
    time: Levels,
    encoder_hidden_states: Tokens,
    encoder_attention_mask: Bool[Tensor, "B T"],
) -> Batch:
    """Predict with a ZImageTransformer2DModel, which takes lists of images and of ragged prompts."""
    prompts = [
        tokens[seen] for tokens, seen in zip(encoder_hidden_states, encoder_attention_mask, strict=True)
    ]
    answers = transformer(list(sample[:, :, None]), time, prompts, return_dict=False)[0]
    return torch.stack(answers)[:, :, 0]


def denoiser(parts: Parts, dtype: torch.dtype) -> FlowDenoiser:
    call = partial(call_reversed, partial(call_z_image, parts.backbone))
    return FlowDenoiser(call, flow_schedule(parts.scheduler), timesteps=1, dtype=dtype)


def embed(pipeline: Any, prompts: list[str]) -> Embeddings:
    tokens, _ = pipeline.encode_prompt(
        list(prompts), device=pipeline.device, do_classifier_free_guidance=False
    )
    return Embeddings.ragged(tokens)


FAMILIES["ZImagePipeline"] = Family(
    name="Z-Image",
    since="0.36",
    backbone=("transformer", "ZImageTransformer2DModel"),
    denoiser=denoiser,
    condition=masked_states,
    embed=embed,
    layout=masked_layout,
    resolution=vae_resolution,
    guidance=partial(rescaled, norm_over(1, 2, 3), longer=False),  # at most the norm of the whole image
    half=torch.bfloat16,
    options=RescaledOptions,
)
