"""`msd-sdi-guidance`: score distillation via inversion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import threestudio
from threestudio.utils.base import BaseObject

from ..distillation import SDI
from ..fields import number, scheduled
from .base import TimedGuidance
from .view import View


@threestudio.register("msd-sdi-guidance")
class SDIGuidance(TimedGuidance, BaseObject):
    """g = y - D(z_t), z_t the DDIM inversion of the render y up to t (Lukoianov et al.
    2024, arXiv 2405.15891, Alg. 1).

    The defaults are the source's, published as threestudio's
    `stable-diffusion-sdi-guidance`: guidance 7.5 and, in the inversion, -7.5, which
    multiply (cond - uncond) on top of cond: 8.5 and -6.5 here, where 1 means no
    guidance. Differs from threestudio's code in one thing: there the first call of an
    inversion asks the network at a negative timestep, which no network was trained on,
    here at timestep 0, and not at all where that step leads nowhere. t falls linearly
    from `max_step_percent` to `min_step_percent` (the source: to 0.2 in 3D). Returns
    `loss_sdi` beside what every guidance returns, summed over a sample as the others'
    are.
    """

    @dataclass
    class Config(TimedGuidance.Config):
        # as everywhere; null is the source's, 8.5, or 7.5 under Perp-Neg
        guidance_scale: Any = scheduled(None)
        inversion_guidance_scale: Any = scheduled(-6.5)
        # times in the inversion's grid over all training timesteps, and the amount of fresh noise in its
        # steps
        inversion_n_steps: int = number(10, least=1, most=1000)
        inversion_eta: float = number(0.3, least=0, most=100)
        # training timesteps that the grid is shifted by: the scheduler's steps_offset, 1 in Stable Diffusion
        inversion_steps_offset: int = number(1, least=0)

        @property
        def follows_progress(self) -> bool:
            return True

    cfg: Config
    name = "sdi"
    paper = SDI.paper
    source_scale = 7.5

    def make_estimator(self, view: View) -> SDI:
        return SDI(
            self.time_range,
            steps=self.cfg.inversion_n_steps,
            eta=self.cfg.inversion_eta,
            offset=self.cfg.inversion_steps_offset / len(self.model.denoiser.schedule),
            inversion_scale=self.now(self.cfg.inversion_guidance_scale),
        )
