"""Sana: a linear transformer over latents of a deep compression autoencoder, a rectified flow."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...distillation import TableSchedule
from ...distillation.protocols import Batch
from ..calls import call_mean, call_transformer, flow_schedule
from ..codec import Images, LatentCodec
from ..denoisers import FlowDenoiser, Levels
from ..embeddings import Embeddings
from ..family import FAMILIES, Family, Parts
from ..transformer import masked_layout, masked_states


class DeepCompressionCodec(LatentCodec):
    """Scaled latents of an AutoencoderDC, which has no posterior."""

    def unscaled(self, images: Images) -> Batch:
        return self.vae.encode(images).latent

    @property
    def factor(self) -> int:
        return 2 ** (len(self.vae.config.encoder_block_out_channels) - 1)


def call_floored(network: Callable[..., Tensor], sample: Batch, time: Levels, **condition: Tensor) -> Batch:
    """Predict at whole times, which DPM-Solver cuts them to."""
    return network(sample, time.floor(), **condition)


def dpm_schedule(scheduler: Any) -> TableSchedule:
    """Noise levels of a DPM-Solver over a flow, shifted, without pure noise."""
    times = torch.arange(1, scheduler.config.num_train_timesteps, dtype=torch.float64)
    times = times / scheduler.config.num_train_timesteps
    return TableSchedule(scheduler.config.flow_shift * times / (1 - times))


def denoiser(parts: Parts, dtype: torch.dtype) -> FlowDenoiser:
    call: Callable = partial(call_mean, partial(call_transformer, parts.backbone))
    if parts.scheduler.config.get("use_flow_sigmas"):
        return FlowDenoiser(partial(call_floored, call), dpm_schedule(parts.scheduler), dtype=dtype)
    return FlowDenoiser(call, flow_schedule(parts.scheduler), dtype=dtype)


def embed(pipeline: Any, prompts: list[str], instructed: bool = True) -> Embeddings:
    """Embed prompts, with the pipeline's long instruction in front of them."""
    instruction = inspect.signature(pipeline.__call__).parameters["complex_human_instruction"].default
    tokens, mask, _, _ = pipeline.encode_prompt(
        prompts,
        do_classifier_free_guidance=False,
        device=pipeline.device,
        complex_human_instruction=instruction if instructed else None,
    )
    return Embeddings(tokens, mask.bool())


FAMILIES["SanaPipeline"] = Family(
    name="Sana",
    since="0.32",
    backbone=("transformer", "SanaTransformer2DModel"),
    denoiser=denoiser,
    condition=masked_states,
    embed=embed,
    embed_negative=partial(embed, instructed=False),
    layout=masked_layout,
    codec=lambda parts: DeepCompressionCodec(parts.vae),
    resolution=lambda parts: parts.backbone.config.sample_size * DeepCompressionCodec(parts.vae).factor,
    vae_class="AutoencoderDC",
    is_distilled=lambda parts: bool(parts.backbone.config.get("guidance_embeds")),
    half=torch.bfloat16,
)
