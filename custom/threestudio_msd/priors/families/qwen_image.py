"""Qwen-Image: a transformer over 2 x 2 patches of a video autoencoder's latents, a rectified flow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...distillation.protocols import Batch
from ...fields import number
from ..calls import flow_schedule
from ..codec import Images, LatentCodec
from ..denoisers import FlowDenoiser, Levels
from ..embeddings import Embeddings
from ..family import FAMILIES, Family, Parts
from ..rescaled import RescaledOptions, patch_norm, rescaled
from ..transformer import masked_layout, masked_states, pack, unpack


@dataclass(frozen=True)
class Options(RescaledOptions):
    """Keys of `model_options` for Qwen-Image."""

    # pixels a side: the network takes any, and neither it nor its autoencoder names one
    resolution: int = number(1024, least=16)


class VideoCodec(LatentCodec):
    """Latents of an autoencoder of videos, of which an image is one frame, standardised by channel."""

    def unscaled(self, images: Images) -> Batch:
        return super().unscaled(images[:, :, None])[:, :, 0]

    def decoded(self, latents: Batch) -> Images:
        return super().decoded(latents[:, :, None])[:, :, 0]

    def scale(self, latents: Batch) -> Batch:
        return (latents - self._by_channel("mean", latents)) / self._by_channel("std", latents)

    def unscale(self, latents: Batch) -> Batch:
        return latents * self._by_channel("std", latents) + self._by_channel("mean", latents)

    def shape(self, resolution: int) -> tuple[int, int, int]:
        size = resolution // self.factor
        return self.vae.config.z_dim, size, size

    @property
    def factor(self) -> int:
        return 2 ** len(self.vae.config.temperal_downsample)  # the config's own spelling

    def _by_channel(self, name: str, latents: Batch) -> Tensor:
        return torch.tensor(self.vae.config[f"latents_{name}"]).to(latents)[:, None, None]


def call_qwen(transformer: Any, sample: Batch, time: Levels, **condition: Any) -> Batch:
    """Predict with a QwenImageTransformer2DModel at times in [0, 1]; packs and unpacks the latents."""
    height, width = sample.shape[-2:]
    shapes = [[(1, height // 2, width // 2)]] * len(sample)
    tokens = transformer(pack(sample), timestep=time, img_shapes=shapes, return_dict=False, **condition)[0]
    return unpack(tokens, height, width)


def denoiser(parts: Parts, dtype: torch.dtype) -> FlowDenoiser:
    call = partial(call_qwen, parts.backbone)
    return FlowDenoiser(call, flow_schedule(parts.scheduler), timesteps=1, dtype=dtype)


def embed(pipeline: Any, prompts: list[str]) -> Embeddings:
    tokens, mask = pipeline.encode_prompt(prompts, device=pipeline.device)  # no mask where nothing is padded
    return Embeddings(tokens, tokens.new_ones(tokens.shape[:2], dtype=bool) if mask is None else mask.bool())


FAMILIES["QwenImagePipeline"] = Family(
    name="Qwen-Image",
    since="0.35",
    backbone=("transformer", "QwenImageTransformer2DModel"),
    denoiser=denoiser,
    condition=partial(masked_states, mask="encoder_hidden_states_mask"),
    embed=embed,
    layout=masked_layout,
    resolution=lambda parts: parts.options.resolution,
    codec=lambda parts: VideoCodec(parts.vae),
    vae_class="AutoencoderKLQwenImage",
    guidance=partial(rescaled, patch_norm),
    half=torch.bfloat16,
    options=Options,
)
