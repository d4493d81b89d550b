"""`msd-csd-guidance`: classifier score distillation."""

from __future__ import annotations

import threestudio
from threestudio.utils.base import BaseObject

from ..distillation import CSD
from .base import TimedGuidance
from .view import View


@threestudio.register("msd-csd-guidance")
class CSDGuidance(TimedGuidance, BaseObject):
    """g = w(t) (eps(z_t; t, prompt) - eps(z_t; t, empty)), w(t) = 1 - abar_t (Yu et al.
    2023, arXiv 2310.19415, Eq. 7).

    Guidance alone: `guidance_scale` plays no part. Returns `loss_csd` beside what every
    guidance returns.
    """

    name = "csd"
    paper = CSD.paper

    def make_estimator(self, view: View) -> CSD:
        return CSD(self.time_range)
