"""FLUX.2 [klein]: a transformer over the normalised patches of FLUX.2's autoencoder, a rectified flow."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...distillation.protocols import Batch
from ..calls import flow_schedule, hidden_states
from ..codec import LatentCodec
from ..denoisers import FlowDenoiser, Levels
from ..embeddings import Embeddings
from ..family import FAMILIES, Family, Parts, vae_resolution
from ..transformer import Tokens


class PatchCodec(LatentCodec):
    """2 x 2 patches of an AutoencoderKLFlux2's latents as channels, standardised by its batch norm."""

    def scale(self, latents: Batch) -> Batch:
        mean, std = self._moments(latents)
        return (F.pixel_unshuffle(latents, 2) - mean) / std

    def unscale(self, latents: Batch) -> Batch:
        mean, std = self._moments(latents)
        return F.pixel_shuffle(latents * std + mean, 2)

    def shape(self, resolution: int) -> tuple[int, int, int]:
        channels, height, width = super().shape(resolution)
        return 4 * channels, height // 2, width // 2

    def _moments(self, latents: Batch) -> tuple[Tensor, Tensor]:
        norm = self.vae.bn
        variance = norm.running_var + self.vae.config.batch_norm_eps
        return norm.running_mean.to(latents)[:, None, None], variance.sqrt().to(latents)[:, None, None]


def call_flux2(transformer: Any, sample: Batch, time: Levels, encoder_hidden_states: Tokens) -> Batch:
    """Predict with a Flux2Transformer2DModel at times in [0, 1]; a token is a pixel of the sample."""
    zero, *axes = (
        torch.arange(size, device=sample.device)
        for size in (1, *sample.shape[-2:], encoder_hidden_states.shape[1])
    )
    height, width, length = axes
    answer = transformer(
        hidden_states=sample.flatten(2).mT,
        timestep=time,
        guidance=None,
        encoder_hidden_states=encoder_hidden_states,
        txt_ids=torch.cartesian_prod(zero, zero, zero, length),
        img_ids=torch.cartesian_prod(zero, height, width, zero),
        return_dict=False,
    )[0]
    return answer.mT.unflatten(2, sample.shape[-2:])


def denoiser(parts: Parts, dtype: torch.dtype) -> FlowDenoiser:
    call = partial(call_flux2, parts.backbone)
    return FlowDenoiser(call, flow_schedule(parts.scheduler), timesteps=1, dtype=dtype)


def embed(pipeline: Any, prompts: list[str]) -> Embeddings:
    """Embed prompts: three layers of the text encoder side by side."""
    tokens, _ = pipeline.encode_prompt(prompts, device=pipeline.device)
    return Embeddings(tokens)


FAMILIES["Flux2KleinPipeline"] = Family(
    name="FLUX.2 [klein]",
    since="0.37",
    backbone=("transformer", "Flux2Transformer2DModel"),
    denoiser=denoiser,
    condition=hidden_states,
    embed=embed,
    resolution=vae_resolution,
    codec=lambda parts: PatchCodec(parts.vae),
    vae_class="AutoencoderKLFlux2",
    is_distilled=lambda parts: bool(parts.index.get("is_distilled")),
    half=torch.bfloat16,
)
