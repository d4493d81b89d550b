"""Lumina-Image 2: a transformer over latents, a rectified flow whose time runs from noise to data."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from ..calls import call_transformer, flow_schedule
from ..denoisers import FlowDenoiser
from ..embeddings import Embeddings
from ..family import FAMILIES, Family, Parts
from ..rescaled import RescaledOptions, norm_over, rescaled
from ..transformer import call_reversed, masked_layout, masked_states


def denoiser(parts: Parts, dtype: torch.dtype) -> FlowDenoiser:
    call = partial(call_reversed, partial(call_transformer, parts.backbone))
    return FlowDenoiser(call, flow_schedule(parts.scheduler), timesteps=1, dtype=dtype)


def embed(pipeline: Any, prompts: list[str]) -> Embeddings:
    """Embed prompts, behind the pipeline's system prompt."""
    tokens, mask, _, _ = pipeline.encode_prompt(prompts, False, device=pipeline.device)
    return Embeddings(tokens, mask.bool())


def embed_negative(pipeline: Any, prompts: list[str]) -> Embeddings:
    """Embed negative prompts, which stand alone."""
    _, _, tokens, mask = pipeline.encode_prompt(
        prompts, True, negative_prompt=prompts, device=pipeline.device
    )
    return Embeddings(tokens, mask.bool())


FAMILIES["Lumina2Pipeline"] = Family(
    name="Lumina-Image 2",
    since="0.33",
    backbone=("transformer", "Lumina2Transformer2DModel"),
    denoiser=denoiser,
    condition=masked_states,
    embed=embed,
    embed_negative=embed_negative,
    layout=masked_layout,
    guidance=partial(rescaled, norm_over(3)),  # every row of every channel
    half=torch.bfloat16,
    options=RescaledOptions,
)
