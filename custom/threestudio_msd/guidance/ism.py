"""`msd-ism-guidance`: interval score matching."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import threestudio
from threestudio.utils.base import BaseObject

from ..distillation import ISM
from ..fields import number, scheduled
from .base import TimedGuidance
from .view import View


@threestudio.register("msd-ism-guidance")
class ISMGuidance(TimedGuidance, BaseObject):
    """g = w(t) (eps_hat(z_t; t, prompt) - eps(z_s; s, empty)), z_s and z_t from the
    DDIM inversion of the render without a prompt.

    LucidDreamer, Liang et al. 2023, arXiv 2311.11284, Eq. 17. The defaults are the
    source's: delta_T = 50 and delta_S = 200 of 1000 timesteps, guidance 7.5, t up to
    0.98 at first and up to 0.5 after three tenths of its 5000 steps. Returns `loss_ism`
    beside what every guidance returns.
    """

    @dataclass
    class Config(TimedGuidance.Config):
        max_step_percent: Any = scheduled([0, 0.98, 0.5, 1500], least=0, most=1)
        # delta_T, from the state whose noise is the reference to the one that is denoised, and delta_S, of
        # the steps of the inversion before: parts of the training timesteps
        interval_percent: float = number(0.05, above=0, most=1)
        inversion_interval_percent: float = number(0.2, above=0, most=1)

    cfg: Config
    name = "ism"
    paper = ISM.paper

    def make_estimator(self, view: View) -> ISM:
        return ISM(self.time_range, self.cfg.interval_percent, self.cfg.inversion_interval_percent)
