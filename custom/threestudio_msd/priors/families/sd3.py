"""Stable Diffusion 3: a transformer over latents, a rectified flow; hidden states and a
pooled embedding.
"""

from __future__ import annotations

from typing import Any

import torch

from ..calls import transformer_denoiser
from ..embeddings import Embeddings
from ..family import FAMILIES, Family
from ..transformer import hidden_states_and_pooled, pooled_layout


def embed(pipeline: Any, prompts: list[str]) -> Embeddings:
    """Embed P prompts with those of the pipeline's three text encoders that are there:
    hidden states, `[P, T, C]`, and the extra `pooled`, `[P, W]`.
    """
    tokens, _, pooled, _ = pipeline.encode_prompt(
        prompts,
        prompt_2=None,
        prompt_3=None,
        device=pipeline.device,
        num_images_per_prompt=1,
        do_classifier_free_guidance=False,
    )
    return Embeddings(tokens, extras={"pooled": pooled})


FAMILIES["StableDiffusion3Pipeline"] = Family(
    name="Stable Diffusion 3",
    since="0.29",
    backbone=("transformer", "SD3Transformer2DModel"),
    denoiser=transformer_denoiser,
    condition=hidden_states_and_pooled,
    embed=embed,
    layout=pooled_layout,
    half=torch.bfloat16,  # of every example in its makers' model card
)
