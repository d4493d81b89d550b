"""PRX in pixels: a transformer that predicts the clean image from a flow whose noise has a greater std."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch

from ...fields import number
from ..calls import call_transformer, flow_schedule
from ..codec import PixelCodec
from ..denoisers import FlowDenoiser
from ..embeddings import Embeddings
from ..errors import PriorError
from ..family import FAMILIES, Family, Parts
from ..transformer import masked_layout, masked_states


@dataclass(frozen=True)
class Options:
    """Keys of `model_options` for PRX in pixels."""

    # pixels a side; null is the pipeline's own
    resolution: int | None = number(None, least=16)


def denoiser(parts: Parts, dtype: torch.dtype) -> FlowDenoiser:
    call = partial(call_transformer, parts.backbone)
    std = float(parts.index.get("noise_scale", 2.0))
    return FlowDenoiser(call, flow_schedule(parts.scheduler, std), 1, dtype, std, "sample")


def embed(pipeline: Any, prompts: list[str]) -> Embeddings:
    """Embed prompts.

    Raises:
        PriorError: ftfy is missing, by which the pipeline cleans prompts.
    """
    if find_spec("ftfy") is None:
        raise PriorError("PRX's prompts are cleaned by ftfy: pip install ftfy")
    tokens, mask, _, _ = pipeline.encode_prompt(prompts, pipeline.device, do_classifier_free_guidance=False)
    return Embeddings(tokens, mask.bool())


FAMILIES["PRXPixelPipeline"] = Family(
    name="PRX in pixels",
    since="0.39",
    backbone=("transformer", "PRXTransformer2DModel"),
    denoiser=denoiser,
    condition=partial(masked_states, mask="attention_mask"),
    embed=embed,
    layout=masked_layout,
    resolution=lambda parts: parts.options.resolution or parts.index.get("default_sample_size", 1024),
    codec=lambda parts: PixelCodec(),
    vae=None,
    half=torch.bfloat16,
    options=Options,
)
