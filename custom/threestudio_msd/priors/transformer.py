"""Shared by families of transformers: packed latents, positions, reversed times, masks, pooled embeddings."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..distillation.protocols import Batch
from .denoisers import Condition, Levels
from .embeddings import Embeddings, Layout
from .family import Parts

Tokens = Float[Tensor, "B T C"]
Pooled = Float[Tensor, "B W"]


def call_reversed(network: Callable[..., Tensor], sample: Batch, time: Levels, **condition: Tensor) -> Batch:
    """Predict u with a network of time 1 - t and answer -u."""
    return -network(sample, 1 - time, **condition)


def masked_states(parts: Parts, embeddings: Embeddings, mask: str = "encoder_attention_mask") -> Condition:
    assert embeddings.mask is not None  # as `masked_layout` has it
    return {"encoder_hidden_states": embeddings.tokens, mask: embeddings.mask}


def masked_layout(parts: Parts) -> Layout:
    return Layout(masked=True)


def pack(latents: Batch) -> Tokens:
    """Put each 2 x 2 patch of latents `[B, C, h, w]` into a token `[B, h w / 4, 4 C]`, channels outermost."""
    return F.pixel_unshuffle(latents, 2).flatten(2).mT


def unpack(tokens: Tokens, height: int, width: int) -> Batch:
    """Undo `pack` for latents of this height and width."""
    return F.pixel_shuffle(tokens.mT.unflatten(2, (height // 2, width // 2)), 2)


def positions(height: int, width: int, like: Tensor) -> Float[Tensor, "N 3"]:
    """Coordinates (0, row, column) of an image's tokens, made on its device, for which nothing waits."""
    rows, columns = (torch.arange(size, device=like.device, dtype=like.dtype) for size in (height, width))
    return torch.cartesian_prod(rows[:1], rows, columns)


def hidden_states_and_pooled(parts: Parts, embeddings: Embeddings) -> Condition:
    return {"encoder_hidden_states": embeddings.tokens, "pooled_projections": embeddings.extras["pooled"]}


def pooled_layout(parts: Parts) -> Layout:
    return Layout(extras={"pooled": (parts.backbone.config.pooled_projection_dim,)})
