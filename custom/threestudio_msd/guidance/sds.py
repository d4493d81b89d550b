"""`msd-sds-guidance`: score distillation sampling, the baseline that mean-shift distillation replaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import threestudio
from threestudio.utils.base import BaseObject

from ..distillation import SDS
from .base import LatentGuidance
from .parts import require_time_range


@threestudio.register("msd-sds-guidance")
class SDSGuidance(LatentGuidance, BaseObject):
    """g = w(t) (eps_hat(z_t; t, prompt) - n), w(t) = 1 - abar_t (DreamFusion, Poole et al. 2022, Eq. 3; Eq. 1 of the paper).

    The defaults are those of threestudio's `stable-diffusion-guidance`, whose scale of 100 multiplies (cond -
    uncond) on top of
    cond: 101 here, where 1 means no guidance. Returns `loss_sds` beside what every guidance returns.
    """

    @dataclass
    class Config(LatentGuidance.Config):
        """Settings of `msd-sds-guidance`."""

        guidance_scale: Any = 101.0
        # t is drawn uniformly between these parts of the training timesteps
        min_step_percent: float = 0.02
        max_step_percent: float = 0.98

        def __post_init__(self) -> None:
            super().__post_init__()
            require_time_range(self.min_step_percent, self.max_step_percent)

    cfg: Config
    name = "sds"

    def configure(self) -> None:
        """Load the pretrained model and build the estimator."""
        super().configure()
        self.estimator = SDS((self.cfg.min_step_percent, self.cfg.max_step_percent))
