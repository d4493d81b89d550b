"""Stable Diffusion XL: a UNet over latents; hidden states, a pooled embedding and the picture's sizes."""

from __future__ import annotations

from typing import Any

from ..calls import unet_denoiser, with_pooled, without_pooled
from ..denoisers import Condition
from ..family import FAMILIES, Embeddings, Family, Parts, backbone_resolution


def condition(parts: Parts, embeddings: Embeddings) -> Condition:
    """Condition on hidden states, the pooled embedding, and the sizes of an uncropped training image."""
    config, size = parts.backbone.config, backbone_resolution(parts)
    width = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    tokens, pooled = without_pooled(embeddings, width)
    sizes = embeddings.new_tensor([size, size, 0, 0, size, size])
    return {
        "encoder_hidden_states": tokens,
        "text_embeds": pooled,
        "time_ids": sizes.expand(len(embeddings), 6),
    }


def embed(pipeline: Any, prompts: list[str]) -> Embeddings:
    """Embed prompts; the empty prompt is zeros, as these models were trained."""
    tokens, _, pooled, _ = pipeline.encode_prompt(
        prompts, device=pipeline.device, num_images_per_prompt=1, do_classifier_free_guidance=False
    )
    embeddings = with_pooled(tokens, pooled)
    if pipeline.config.get("force_zeros_for_empty_prompt"):
        embeddings[[not prompt for prompt in prompts]] = 0
    return embeddings


FAMILIES["StableDiffusionXLPipeline"] = Family(
    name="Stable Diffusion XL",
    since="0.20",
    backbone=("unet", "UNet2DConditionModel"),
    denoiser=unet_denoiser,
    condition=condition,
    embed=embed,
)
