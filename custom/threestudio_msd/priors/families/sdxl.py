"""Stable Diffusion XL: a UNet over latents; hidden states, a pooled embedding and the
picture's sizes.
"""

from __future__ import annotations

from typing import Any

from ..calls import unet_denoiser
from ..denoisers import Condition
from ..embeddings import Embeddings, Layout
from ..family import FAMILIES, Family, Parts, backbone_resolution


def condition(parts: Parts, embeddings: Embeddings) -> Condition:
    """Make the UNet's condition from embeddings of B prompts: hidden states, the pooled
    embedding, and the sizes of an uncropped training image.

    Returns:
        `encoder_hidden_states`, `[B, T, C]`, `text_embeds`, `[B, W]`, and `time_ids`,
        `[B, 6]`.
    """
    tokens, size = embeddings.tokens, backbone_resolution(parts)
    sizes = tokens.new_tensor([size, size, 0, 0, size, size])
    return {
        "encoder_hidden_states": tokens,
        "text_embeds": embeddings.extras["pooled"],
        "time_ids": sizes.expand(len(tokens), 6),
    }


def layout(parts: Parts) -> Layout:
    config = parts.backbone.config
    width = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    return Layout(extras={"pooled": (width,)})


def embed(pipeline: Any, prompts: list[str]) -> Embeddings:
    """Embed P prompts with both text encoders: hidden states, `[P, T, C]`, and the
    extra `pooled`, `[P, W]`.

    If the pipeline's configuration says so, as these models were trained, the empty
    prompt is zeros.
    """
    tokens, _, pooled, _ = pipeline.encode_prompt(
        prompts, device=pipeline.device, num_images_per_prompt=1, do_classifier_free_guidance=False
    )
    if pipeline.config.get("force_zeros_for_empty_prompt"):
        empty = [not prompt for prompt in prompts]
        tokens[empty], pooled[empty] = 0, 0
    return Embeddings(tokens, extras={"pooled": pooled})


FAMILIES["StableDiffusionXLPipeline"] = Family(
    name="Stable Diffusion XL",
    since="0.20",
    backbone=("unet", "UNet2DConditionModel"),
    denoiser=unet_denoiser,
    condition=condition,
    embed=embed,
    layout=layout,
    upcasts_vae=True,
)
