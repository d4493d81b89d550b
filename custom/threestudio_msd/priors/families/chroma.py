"""Chroma: Flux.1 [schnell] without its guidance input, but trained for classifier-free guidance."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor

from ...distillation.protocols import Batch
from ..calls import flow_schedule
from ..denoisers import FlowDenoiser, Levels
from ..embeddings import Embeddings
from ..family import FAMILIES, Family, Parts, vae_resolution
from ..transformer import Tokens, masked_layout, masked_states, pack, positions, unpack


def call_chroma(
    transformer: Any,
    sample: Batch,
    time: Levels,
    encoder_hidden_states: Tokens,
    encoder_attention_mask: Bool[Tensor, "B T"],
) -> Batch:
    """Predict with a ChromaTransformer2DModel at times in [0, 1]; packs and unpacks the latents."""
    height, width = sample.shape[-2:]
    tokens = pack(sample)
    # a mask of floats, as the pipeline has it, which attention adds to its logits
    mask = F.pad(encoder_attention_mask.to(sample.dtype), (0, tokens.shape[1]), value=1)
    answer = transformer(
        tokens,
        timestep=time,
        encoder_hidden_states=encoder_hidden_states,
        txt_ids=sample.new_zeros(encoder_hidden_states.shape[1], 3),
        img_ids=positions(height // 2, width // 2, sample),
        attention_mask=mask,
        return_dict=False,
    )[0]
    return unpack(answer, height, width)


def denoiser(parts: Parts, dtype: torch.dtype) -> FlowDenoiser:
    call = partial(call_chroma, parts.backbone)
    return FlowDenoiser(call, flow_schedule(parts.scheduler), timesteps=1, dtype=dtype)


def embed(pipeline: Any, prompts: list[str]) -> Embeddings:
    """Embed prompts; the mask has one token of padding."""
    tokens, _, mask, *_ = pipeline.encode_prompt(
        prompts, device=pipeline.device, do_classifier_free_guidance=False
    )
    return Embeddings(tokens, mask.bool())


FAMILIES["ChromaPipeline"] = Family(
    name="Chroma",
    since="0.34",
    backbone=("transformer", "ChromaTransformer2DModel"),
    denoiser=denoiser,
    condition=masked_states,
    embed=embed,
    layout=masked_layout,
    resolution=vae_resolution,
    half=torch.bfloat16,
)
