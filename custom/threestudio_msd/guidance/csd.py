"""`msd-csd-guidance`: classifier score distillation."""

from __future__ import annotations

from dataclasses import dataclass

import threestudio
from threestudio.utils.base import BaseObject

from ..distillation import CSD
from .base import TimedGuidance


@threestudio.register("msd-csd-guidance")
class CSDGuidance(TimedGuidance, BaseObject):
    """g = w(t) (eps(z_t; t, prompt) - eps(z_t; t, empty)), w(t) = 1 - abar_t (Yu et al. 2023, arXiv
    2310.19415, Eq. 7).

    Guidance alone: `guidance_scale` plays no part. Returns `loss_csd` beside what every guidance returns.
    """

    @dataclass
    class Config(TimedGuidance.Config):
        """Settings of `msd-csd-guidance`."""

    cfg: Config
    name = "csd"
    paper = CSD.paper

    @property
    def estimator(self) -> CSD:
        """See `LatentGuidance`."""
        return CSD(self.time_range)
