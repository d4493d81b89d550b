"""Flux.1: a transformer over 2 x 2 patches of latents, a rectified flow; guidance is
one more input.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ...fields import number
from ..calls import flow_schedule
from ..denoisers import FlowDenoiser, Levels
from ..embeddings import Embeddings
from ..family import FAMILIES, Family, Parts, vae_resolution
from ..transformer import Pooled, Tokens, hidden_states_and_pooled, pack, pooled_layout, positions, unpack


@dataclass(frozen=True)
class Options:
    """Keys of `model_options` for Flux.1.

    Attributes:
        distilled_guidance_scale: Scale >= 0 of the guidance that [dev] was distilled
            with, an input at no further evaluation; apart from classifier-free
            guidance, the guidance module's `guidance_scale`. [schnell] has no such
            input.
    """

    # scale of the guidance that [dev] was distilled with, an input at no further evaluation; apart from
    # classifier-free guidance, the guidance module's guidance_scale. [schnell] has no such input
    distilled_guidance_scale: float = number(3.5, least=0)


def call_flux(
    transformer: Any,
    guidance: float,
    sample: Float[Tensor, "B c h w"],
    time: Levels,
    encoder_hidden_states: Tokens,
    pooled_projections: Pooled,
) -> Float[Tensor, "B c h w"]:
    """Predict the velocity u = n - x with a FluxTransformer2DModel; packs and unpacks
    the latents.

    Args:
        transformer: The network.
        guidance: Scale of the distilled guidance; without effect on [schnell].
        sample: Latents, `[B, c, h, w]`, h and w even.
        time: Times in [0, 1], `[B]`.
        encoder_hidden_states: T5's hidden states, `[B, T, C]`.
        pooled_projections: CLIP's pooled embedding, `[B, W]`.

    Returns:
        The prediction, `[B, c, h, w]`.
    """
    height, width = sample.shape[-2:]
    guided = transformer.config.guidance_embeds
    packed = transformer(
        pack(sample),
        encoder_hidden_states=encoder_hidden_states,
        pooled_projections=pooled_projections,
        timestep=time,
        img_ids=positions(height // 2, width // 2, sample),
        txt_ids=sample.new_zeros(encoder_hidden_states.shape[1], 3),
        guidance=torch.full_like(time, guidance) if guided else None,
        return_dict=False,
    )[0]
    return unpack(packed, height, width)


def denoiser(parts: Parts, dtype: torch.dtype) -> FlowDenoiser:
    options = parts.options or Options()
    call = partial(call_flux, parts.backbone, options.distilled_guidance_scale)
    return FlowDenoiser(call, flow_schedule(parts.scheduler), timesteps=1, dtype=dtype)


def embed(pipeline: Any, prompts: list[str]) -> Embeddings:
    """Embed P prompts with the pipeline's text encoders: T5's hidden states, `[P, T,
    C]`, and CLIP's pooled embedding as the extra `pooled`, `[P, W]`.
    """
    tokens, pooled, _ = pipeline.encode_prompt(prompts, None, device=pipeline.device, num_images_per_prompt=1)
    return Embeddings(tokens, extras={"pooled": pooled})


FAMILIES["FluxPipeline"] = Family(
    name="Flux.1",
    since="0.30",
    backbone=("transformer", "FluxTransformer2DModel"),
    denoiser=denoiser,
    condition=hidden_states_and_pooled,
    embed=embed,
    layout=pooled_layout,
    resolution=vae_resolution,
    is_distilled=lambda parts: not parts.backbone.config.guidance_embeds,
    half=torch.bfloat16,
    options=Options,
)
