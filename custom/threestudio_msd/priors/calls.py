"""Shared by families: calls of diffusers' networks, noise levels, conditions."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..distillation import TableSchedule
from ..distillation.protocols import Batch
from .denoisers import Condition, FlowDenoiser, Levels, VPDenoiser
from .embeddings import Embeddings
from .errors import PriorError
from .family import Parts

CONFIG = "config.json"
# fmt: off
VP_SCHEDULERS = frozenset([
    "DDIM", "DDIMParallel", "DDPM", "DDPMParallel", "DEISMultistep", "DPMSolverMultistep", "DPMSolverSDE",
    "DPMSolverSinglestep", "EulerAncestralDiscrete", "EulerDiscrete", "HeunDiscrete",
    "KDPM2AncestralDiscrete", "KDPM2Discrete", "LCM", "LMSDiscrete", "PNDM", "RePaint", "SASolver", "TCD",
    "UniPCMultistep",
])
# fmt: on
"""Schedulers of variance-preserving models; their choice of sampling steps plays no part here."""
FLOW_SCHEDULERS = frozenset(["FlowMatchEulerDiscrete", "FlowMatchHeunDiscrete", "FlowMatchLCM"])


def call_unet(unet: nn.Module, sample: Batch, time: Levels, **condition: Tensor) -> Batch:
    added = {name: condition.pop(name) for name in ("text_embeds", "time_ids") if name in condition}
    return unet(sample, time, return_dict=False, added_cond_kwargs=added or None, **condition)[0]


def call_transformer(transformer: nn.Module, sample: Batch, time: Levels, **condition: Any) -> Batch:
    return transformer(sample, timestep=time, return_dict=False, **condition)[0]


def call_mean(network: Callable[..., Tensor], sample: Batch, time: Levels, **condition: Tensor) -> Batch:
    """Predict without the further channels, which are the variance's."""
    return network(sample, time, **condition)[:, : sample.shape[1]]


def unet_denoiser(parts: Parts, dtype: torch.dtype) -> VPDenoiser:
    return vp_denoiser(partial(call_unet, parts.backbone), parts.scheduler, dtype)


def transformer_denoiser(parts: Parts, dtype: torch.dtype) -> FlowDenoiser:
    call = partial(call_transformer, parts.backbone)
    return FlowDenoiser(call, flow_schedule(parts.scheduler), dtype=dtype)


def vp_denoiser(network: Callable[..., Tensor], scheduler: Any, dtype: torch.dtype) -> VPDenoiser:
    """Wrap a network as a denoiser with its scheduler's noise levels and prediction
    type.

    Args:
        network: Called as `network(sample, time, **condition)`, returns its raw
            prediction.
        scheduler: diffusers' scheduler of a variance-preserving model.
        dtype: Precision of the network.

    Raises:
        PriorError: The scheduler is not known to be variance-preserving, or its
            prediction type is unknown.
    """
    _require_scheduler(scheduler, VP_SCHEDULERS, "of the DDPM kind", "use_flow_sigmas")
    # from the betas: some schedulers replace the last level, infinite where the signal ends, by a finite one
    abar = (1 - scheduler.betas).cumprod(0)
    schedule = TableSchedule.from_alphas_cumprod(abar[abar > 0])
    try:
        return VPDenoiser(network, schedule, scheduler.config.get("prediction_type", "epsilon"), dtype)
    except ValueError as error:
        raise PriorError(f"scheduler/scheduler_config.json: {error}") from error


def flow_schedule(scheduler: Any, noise_std: float = 1.0) -> TableSchedule:
    """Return the noise levels k t / (1 - t) of a flow-matching scheduler, without pure
    noise.

    Args:
        scheduler: diffusers' scheduler of a rectified flow.
        noise_std: Standard deviation k of the flow's noise.

    Returns:
        The levels, ascending.

    Raises:
        PriorError: The scheduler is not known to be of flow matching.
    """
    _require_scheduler(scheduler, FLOW_SCHEDULERS, "of flow matching", "invert_sigmas")
    times = scheduler.sigmas.flip(0).double()
    times = times[(times > 0) & (times < 1)]
    return TableSchedule(noise_std * times / (1 - times))


def _require_scheduler(scheduler: Any, known: Collection[str], kind: str, foreign: str) -> None:
    """Refuse what would be computed with other noise levels than the network was
    trained on.
    """
    name = type(scheduler).__name__
    if name.removesuffix("Scheduler") not in known:
        raise PriorError(f"scheduler/: a {name} is not known to have noise levels {kind}")
    if getattr(scheduler.config, foreign, False):
        raise PriorError(f"scheduler/scheduler_config.json: {foreign}: expected false, {kind}")


def require_known(parts: Parts) -> None:
    """Check that a model's parts need no input or latents that this package does not
    support, and would run wrongly without.

    Args:
        parts: The loaded parts.

    Raises:
        PriorError: A key of their configurations asks for it; the message names the
            key.
    """
    vae, backbone = getattr(parts.vae, "config", {}), parts.backbone.config
    for key in ("latents_mean", "latents_std"):
        if vae.get(key) is not None and type(parts.vae).__name__ == "AutoencoderKL":
            raise PriorError(f"vae/{CONFIG}: {key}: expected null: such latents are not known here")
    if backbone.get("time_cond_proj_dim"):
        raise PriorError(f"{CONFIG}: time_cond_proj_dim: expected null, no call here tells it")


def hidden_states(parts: Parts, embeddings: Embeddings) -> Condition:
    return {"encoder_hidden_states": embeddings.tokens}
