"""What families share: how diffusers' networks are called, their noise levels, pooled embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..distillation import TableSchedule
from ..distillation.protocols import Batch
from .denoisers import FlowDenoiser, Levels, VPDenoiser
from .errors import PriorError
from .family import Embeddings, Parts

Tokens = Float[Tensor, "B T C"]
Pooled = Float[Tensor, "B W"]


@dataclass(frozen=True)
class UNetCall:
    """A diffusers UNet as a plain function of sample, time and condition."""

    unet: nn.Module

    def __call__(self, sample: Batch, time: Levels, **condition: Tensor) -> Batch:
        """The raw prediction."""
        added = {name: condition.pop(name) for name in ("text_embeds", "time_ids") if name in condition}
        return self.unet(sample, time, return_dict=False, added_cond_kwargs=added or None, **condition)[0]


@dataclass(frozen=True)
class TransformerCall:
    """A diffusers transformer as a plain function of sample, time and condition."""

    transformer: nn.Module

    def __call__(self, sample: Batch, time: Levels, **condition: Tensor) -> Batch:
        """The raw prediction."""
        return self.transformer(sample, timestep=time, return_dict=False, **condition)[0]


def unet_denoiser(parts: Parts, dtype: torch.dtype) -> VPDenoiser:
    """A UNet of the variance-preserving kind."""
    return vp_denoiser(UNetCall(parts.backbone), parts.scheduler, dtype)


def transformer_denoiser(parts: Parts, dtype: torch.dtype) -> FlowDenoiser:
    """A transformer that is a rectified flow."""
    return FlowDenoiser(TransformerCall(parts.backbone), flow_schedule(parts.scheduler), dtype=dtype)


def vp_denoiser(network: Any, scheduler: Any, dtype: torch.dtype) -> VPDenoiser:
    """A network with the noise levels and the kind of prediction that its scheduler knows.

    Raises:
        PriorError: If the scheduler is none of the variance-preserving kind.
    """
    abar = getattr(scheduler, "alphas_cumprod", None)
    if abar is None:
        raise PriorError(f"scheduler/: a {type(scheduler).__name__} has no noise levels of the DDPM kind")
    # no level is infinite, whatever a scheduler of zero terminal signal has for its last
    schedule = TableSchedule.from_alphas_cumprod(abar[abar > 0])
    try:
        return VPDenoiser(network, schedule, scheduler.config.prediction_type, dtype)
    except ValueError as error:
        raise PriorError(f"scheduler/scheduler_config.json: {error}") from error


def flow_schedule(scheduler: Any) -> TableSchedule:
    """The levels of a flow-matching scheduler, t / (1 - t), pure noise excepted.

    Raises:
        PriorError: If the scheduler is of another kind.
    """
    if not hasattr(scheduler, "sigmas") or hasattr(scheduler, "alphas_cumprod"):
        raise PriorError(f"scheduler/: a {type(scheduler).__name__} is none of flow matching")
    times = scheduler.sigmas.flip(0).double()
    times = times[(times > 0) & (times < 1)]
    return TableSchedule(times / (1 - times))


def with_pooled(tokens: Tokens, pooled: Pooled) -> Embeddings:
    """Embeddings with the pooled one as a further token, zeros to its right.

    So views, Perp-Neg and whatever else threestudio does with embeddings apply to it too.
    """
    width = tokens.shape[-1] - pooled.shape[-1]
    return torch.cat([tokens, F.pad(pooled, (0, width))[:, None]], 1).float()


def without_pooled(embeddings: Embeddings, width: int) -> tuple[Tokens, Pooled]:
    """The tokens, and the pooled embedding of a width, that `with_pooled` put together."""
    return embeddings[:, :-1], embeddings[:, -1, :width]
