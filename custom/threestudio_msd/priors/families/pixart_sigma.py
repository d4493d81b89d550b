"""PixArt-Sigma: a transformer over latents; predicts epsilon and its variance."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from ..calls import call_mean, call_transformer, vp_denoiser
from ..denoisers import VPDenoiser
from ..embeddings import Embeddings
from ..family import FAMILIES, Family, Parts
from ..transformer import masked_layout, masked_states

SIZES = {"resolution": None, "aspect_ratio": None}  # inputs of PixArt-alpha alone


def denoiser(parts: Parts, dtype: torch.dtype) -> VPDenoiser:
    call = partial(call_mean, partial(call_transformer, parts.backbone, added_cond_kwargs=SIZES))
    return vp_denoiser(call, parts.scheduler, dtype)


def embed(pipeline: Any, prompts: list[str]) -> Embeddings:
    tokens, mask, _, _ = pipeline.encode_prompt(
        prompts, do_classifier_free_guidance=False, device=pipeline.device
    )
    return Embeddings(tokens, mask.bool())


FAMILIES["PixArtSigmaPipeline"] = Family(
    name="PixArt-Sigma",
    since="0.28",
    backbone=("transformer", "PixArtTransformer2DModel"),
    denoiser=denoiser,
    condition=masked_states,
    embed=embed,
    layout=masked_layout,
)
