"""Guidance whose velocity keeps the conditional one's norm, an option of families whose pipelines have it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F

from ..distillation.protocols import Batch, Level
from .cfg import CFG
from .denoisers import FlowDenoiser
from .family import Parts


@dataclass(frozen=True)
class RescaledOptions:
    """Keys of `model_options` for families whose pipelines rescale guidance."""

    # the guided velocity gets the conditional one's norm, as the pipeline can: guidance is not linear in w
    rescaled_guidance: bool = False


@dataclass(frozen=True)
class RescaledCFG(CFG):
    """Classifier-free guidance whose velocity has the norm of the conditional one: not linear in w.

    Attributes:
        norm: Norm of velocities `[N, ...]`, broadcastable to them: of tokens, rows or whole samples.
        longer: Whether a guided velocity that is shorter becomes longer.
    """

    model: FlowDenoiser
    norm: Callable[[Batch], Batch]
    longer: bool = True

    def _extrapolated(self, scale: float, z: Batch, sigma: Level) -> Batch:
        unconditional, direction = self.branches(z, sigma)
        # the velocity is (state - D) / t, and t cancels
        state = self.model.flow_state(z, sigma.to(z).expand(len(z)))
        guided = state - unconditional - scale * direction
        ratio = self.norm(state - unconditional - direction) / self.norm(guided)
        return state - guided * (ratio if self.longer else ratio.clamp(max=1))


def norm_over(*axes: int) -> Callable[[Batch], Batch]:
    return partial(torch.linalg.vector_norm, dim=axes, keepdim=True)


def patch_norm(velocity: Batch) -> Batch:
    """Norm of each 2 x 2 patch of `[N, C, h, w]`, all channels together."""
    squares = F.avg_pool2d(velocity.square().sum(1, keepdim=True), 2) * 4
    return F.interpolate(squares.sqrt(), scale_factor=2)


def rescaled(norm: Callable[[Batch], Batch], parts: Parts, longer: bool = True) -> Callable[..., CFG]:
    """Make the rule of guidance that the options choose."""
    return partial(RescaledCFG, norm=norm, longer=longer) if parts.options.rescaled_guidance else CFG
