"""`msd-sdi-guidance`: score distillation via inversion."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import threestudio
from threestudio.models.prompt_processors.base import PromptProcessorOutput
from threestudio.utils.base import BaseObject
from threestudio.utils.misc import C

from ..distillation import SDI, Prior
from .base import LatentGuidance, View
from .parts import require_time_range


@threestudio.register("msd-sdi-guidance")
class SDIGuidance(LatentGuidance, BaseObject):
    """g = y - D(z_t), z_t the DDIM inversion of the render y up to t (Lukoianov et al. 2024, arXiv 2405.15891, Alg. 1).

    The defaults are the source's, published as threestudio's `stable-diffusion-sdi-guidance`: guidance 7.5
    and, in the inversion, -7.5, which multiply (cond - uncond) on top of cond: 8.5 and -6.5 here, where 1
    means no guidance. Differs from threestudio's code in one thing: there the first call of an inversion asks
    the network at a negative timestep, which no network was trained on, here at timestep 0, and not at all
    where that step leads nowhere. Returns `loss_sdi` beside what every guidance returns, summed over a sample
    as the others' are.
    """

    @dataclass
    class Config(LatentGuidance.Config):
        """Settings of `msd-sdi-guidance`."""

        guidance_scale: Any = 8.5
        inversion_guidance_scale: Any = -6.5
        # t falls linearly from the latter to the former part of the training timesteps (the source: to 0.2 in
        # 3D)
        min_step_percent: float = 0.02
        max_step_percent: float = 0.98
        # times in the inversion's grid over all training timesteps, and the amount of fresh noise in its
        # steps
        inversion_n_steps: int = 10
        inversion_eta: float = 0.3
        # training timesteps that the grid is shifted by: the scheduler's steps_offset, 1 in Stable Diffusion
        inversion_steps_offset: int = 1

        def __post_init__(self) -> None:
            super().__post_init__()
            require_time_range(self.min_step_percent, self.max_step_percent)
            settings = (self.inversion_n_steps - 1, self.inversion_eta, self.inversion_steps_offset)
            if min(settings) < 0:
                raise ValueError(
                    f"inversion_n_steps must be at least 1, inversion_eta and inversion_steps_offset at least 0, "
                    f"got {self.inversion_n_steps}, {self.inversion_eta} and {self.inversion_steps_offset}"
                )

    cfg: Config
    name = "sdi"

    def configure(self) -> None:
        """Load the pretrained model and build the estimator."""
        super().configure()
        time_range = (self.cfg.min_step_percent, self.cfg.max_step_percent)
        offset = self.cfg.inversion_steps_offset / len(self.prior.network.schedule)
        self.estimator = SDI(time_range, self.cfg.inversion_n_steps, self.cfg.inversion_eta, offset)

    def conditioned(self, prompt_utils: PromptProcessorOutput, view: View) -> Prior:
        """The pretrained model under the prompt, and under the guidance of the inversion."""
        scale = C(self.cfg.inversion_guidance_scale, self.epoch, self.step)
        return replace(
            super().conditioned(prompt_utils, view), inversion=self.denoiser(prompt_utils, view, scale)
        )
