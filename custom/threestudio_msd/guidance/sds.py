"""`msd-sds-guidance`: score distillation sampling, the baseline that mean-shift
distillation replaces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import threestudio
from threestudio.utils.base import BaseObject

from ..distillation import SDS
from ..fields import scheduled
from .base import TimedGuidance
from .view import View


@threestudio.register("msd-sds-guidance")
class SDSGuidance(TimedGuidance, BaseObject):
    """g = w(t) (eps_hat(z_t; t, prompt) - n), w(t) = 1 - abar_t (DreamFusion, Poole et
    al. 2022, Eq. 3; Eq. 1 of the paper).

    The defaults are those of threestudio's `stable-diffusion-guidance`, whose scale of
    100 multiplies (cond - uncond) on top of cond: 101 here, where 1 means no guidance,
    and 100 under Perp-Neg, which starts from uncond in both. Returns `loss_sds` beside
    what every guidance returns.
    """

    @dataclass
    class Config(TimedGuidance.Config):
        # as everywhere; null is the source's, 101, or 100 under Perp-Neg
        guidance_scale: Any = scheduled(None)

    cfg: Config
    name = "sds"
    paper = SDS.paper
    source_scale = 100.0

    def make_estimator(self, view: View) -> SDS:
        return SDS(self.time_range)
