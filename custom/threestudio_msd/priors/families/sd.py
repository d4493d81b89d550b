"""Stable Diffusion 1 and 2: a UNet over latents, conditioned on one text encoder's
hidden states.
"""

from __future__ import annotations

from typing import Any

from ..calls import hidden_states, unet_denoiser
from ..embeddings import Embeddings
from ..family import FAMILIES, Family


def embed(pipeline: Any, prompts: list[str]) -> Embeddings:
    tokens, _ = pipeline.encode_prompt(
        prompts, pipeline.device, num_images_per_prompt=1, do_classifier_free_guidance=False
    )
    return Embeddings(tokens)


FAMILIES["StableDiffusionPipeline"] = Family(
    name="Stable Diffusion 1 and 2",
    since="0.20",
    backbone=("unet", "UNet2DConditionModel"),
    denoiser=unet_denoiser,
    condition=hidden_states,
    embed=embed,
)
