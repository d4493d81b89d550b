"""Shared by families: calls of diffusers' networks, noise levels, conditions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..distillation import TableSchedule
from ..distillation.protocols import Batch
from .denoisers import Condition, FlowDenoiser, Levels, VPDenoiser
from .embeddings import Embeddings, Layout
from .errors import PriorError
from .family import Parts

Tokens = Float[Tensor, "B T C"]
Pooled = Float[Tensor, "B W"]


def call_unet(unet: nn.Module, sample: Batch, time: Levels, **condition: Tensor) -> Batch:
    added = {name: condition.pop(name) for name in ("text_embeds", "time_ids") if name in condition}
    return unet(sample, time, return_dict=False, added_cond_kwargs=added or None, **condition)[0]


def call_transformer(transformer: nn.Module, sample: Batch, time: Levels, **condition: Tensor) -> Batch:
    return transformer(sample, timestep=time, return_dict=False, **condition)[0]


def unet_denoiser(parts: Parts, dtype: torch.dtype) -> VPDenoiser:
    return vp_denoiser(partial(call_unet, parts.backbone), parts.scheduler, dtype)


def transformer_denoiser(parts: Parts, dtype: torch.dtype) -> FlowDenoiser:
    call = partial(call_transformer, parts.backbone)
    return FlowDenoiser(call, flow_schedule(parts.scheduler), dtype=dtype)


def vp_denoiser(network: Callable[..., Tensor], scheduler: Any, dtype: torch.dtype) -> VPDenoiser:
    """Wrap a network with its scheduler's noise levels and prediction type.

    Raises:
        PriorError: The scheduler is not variance-preserving.
    """
    betas = getattr(scheduler, "betas", None)
    if betas is None or not hasattr(scheduler, "alphas_cumprod"):
        raise PriorError(f"scheduler/: a {type(scheduler).__name__} has no noise levels of the DDPM kind")
    # from the betas: some schedulers replace the last level, infinite where the signal ends, by a finite one
    abar = (1 - betas).cumprod(0)
    schedule = TableSchedule.from_alphas_cumprod(abar[abar > 0])
    try:
        return VPDenoiser(network, schedule, scheduler.config.get("prediction_type", "epsilon"), dtype)
    except ValueError as error:
        raise PriorError(f"scheduler/scheduler_config.json: {error}") from error


def flow_schedule(scheduler: Any) -> TableSchedule:
    """Noise levels t / (1 - t) of a flow-matching scheduler, without pure noise.

    Raises:
        PriorError: The scheduler is of another kind.
    """
    if not hasattr(scheduler, "sigmas") or hasattr(scheduler, "alphas_cumprod"):
        raise PriorError(f"scheduler/: a {type(scheduler).__name__} is none of flow matching")
    times = scheduler.sigmas.flip(0).double()
    times = times[(times > 0) & (times < 1)]
    return TableSchedule(times / (1 - times))


def hidden_states(parts: Parts, embeddings: Embeddings) -> Condition:
    return {"encoder_hidden_states": embeddings.tokens}


def hidden_states_and_pooled(parts: Parts, embeddings: Embeddings) -> Condition:
    return {"encoder_hidden_states": embeddings.tokens, "pooled_projections": embeddings.extras["pooled"]}


def pooled_layout(parts: Parts) -> Layout:
    return Layout(extras={"pooled": (parts.backbone.config.pooled_projection_dim,)})
