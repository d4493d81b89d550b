"""Score distillation at a diffusion time drawn from a range: SDS, CSD, SDI and ISM as
guidance modules.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import threestudio
from omegaconf import OmegaConf
from threestudio.utils.base import BaseObject
from threestudio.utils.misc import C

from ..distillation import CSD, ISM, SDI, SDS
from ..fields import FieldError, number, scheduled
from .base import LatentGuidance
from .view import View


class TimedGuidance(LatentGuidance):
    """Base of the guidance modules that evaluate the model at a diffusion time in
    [`min_step_percent`, `max_step_percent`].
    """

    @dataclass
    class Config(LatentGuidance.Config):
        # range of diffusion times, in parts of the training timesteps; numbers or scheduled scalars
        min_step_percent: Any = scheduled(0.02, least=0, most=1)
        max_step_percent: Any = scheduled(0.98, least=0, most=1)

        def __post_init__(self) -> None:
            super().__post_init__()
            for step in sorted({*steps_of(self.min_step_percent), *steps_of(self.max_step_percent)}):
                least, most = (value_at(v, step) for v in (self.min_step_percent, self.max_step_percent))
                if least > most:
                    when = "" if step == 0 else f" at step {step:g}"
                    raise FieldError(
                        f"min_step_percent: expected at most max_step_percent, {most:g}, got {least:g}{when}"
                    )

    clean_target = False

    @property
    def time_range(self) -> tuple[float, float]:
        """Least and greatest diffusion time, in [0, 1], at the present step."""
        return self.now(self.cfg.min_step_percent), self.now(self.cfg.max_step_percent)


@threestudio.register("msd-sds-guidance")
class SDSGuidance(TimedGuidance, BaseObject):
    """Score distillation sampling: g = w(t) (eps_hat(z_t; t, prompt) - n), w(t) = 1 -
    abar_t (DreamFusion, Poole et al. 2022, Eq. 3; Eq. 1 of the paper).

    The defaults are those of threestudio's `stable-diffusion-guidance`, whose scale of
    100 multiplies (cond - uncond) on top of cond: 101 here, where 1 means no guidance,
    and 100 under Perp-Neg, which starts from uncond in both. A call returns `loss_sds`,
    and as every guidance `grad_norm`, `nfe` and `sigma`.
    """

    @dataclass
    class Config(TimedGuidance.Config):
        # as everywhere; null is the source's, 101, or 100 under Perp-Neg
        guidance_scale: Any = scheduled(None)

    name = "sds"
    paper = SDS.paper
    source_scale = 100.0

    def make_estimator(self, view: View) -> SDS:
        return SDS(self.time_range)


@threestudio.register("msd-csd-guidance")
class CSDGuidance(TimedGuidance, BaseObject):
    """Classifier score distillation: g = w(t) (eps(z_t; t, prompt) - eps(z_t; t,
    empty)), w(t) = 1 - abar_t (Yu et al. 2023, arXiv 2310.19415, Eq. 7).

    `guidance_scale` has no effect. A call returns `loss_csd`, and as every guidance
    `grad_norm`, `nfe` and `sigma`.
    """

    name = "csd"
    paper = CSD.paper
    gives_targets = False

    def make_estimator(self, view: View) -> CSD:
        return CSD(self.time_range)


@threestudio.register("msd-sdi-guidance")
class SDIGuidance(TimedGuidance, BaseObject):
    """Score distillation via inversion: g = y - D(z_t), z_t the DDIM inversion of the
    render y up to t (Lukoianov et al. 2024, arXiv 2405.15891, Alg. 1).

    The defaults are the source's, published as threestudio's
    `stable-diffusion-sdi-guidance`: guidance 7.5 and, in the inversion, -7.5, which
    multiply (cond - uncond) on top of cond: 8.5 and -6.5 here, where 1 means no
    guidance. Differs from threestudio's code in one thing: there the first call of an
    inversion evaluates the network at a negative timestep, which no network was trained
    on, here at timestep 0, and not at all if that step leads nowhere. t falls linearly
    from `max_step_percent` to `min_step_percent` (the source: to 0.2 in 3D). A call
    returns `loss_sdi`, summed over a sample as the others' are, and as every guidance
    `grad_norm`, `nfe` and `sigma`.
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

    name = "sdi"
    clean_target = True
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


@threestudio.register("msd-ism-guidance")
class ISMGuidance(TimedGuidance, BaseObject):
    """Interval score matching: g = w(t) (eps_hat(z_t; t, prompt) - eps(z_s; s, empty)),
    z_s and z_t from the DDIM inversion of the render without a prompt.

    w(t) is the noise level, as in the source's code: LucidDreamer, Liang et al. 2023,
    arXiv 2311.11284, Eq. 17. The defaults are the source's: delta_T = 50 and delta_S =
    200 of 1000 timesteps, guidance 7.5, t up to 0.98 at first and up to 0.5 after three
    tenths of its 5000 steps. A call returns `loss_ism`, and as every guidance
    `grad_norm`, `nfe` and `sigma`.
    """

    @dataclass
    class Config(TimedGuidance.Config):
        max_step_percent: Any = scheduled([0, 0.98, 0.5, 1500], least=0, most=1)
        # delta_T, from the state whose noise is the reference to the one that is denoised, and delta_S, of
        # the steps of the inversion before: parts of the training timesteps
        interval_percent: float = number(0.05, above=0, most=1)
        inversion_interval_percent: float = number(0.2, above=0, most=1)

    name = "ism"
    paper = ISM.paper

    def make_estimator(self, view: View) -> ISM:
        return ISM(self.time_range, self.cfg.interval_percent, self.cfg.inversion_interval_percent)


def steps_of(scalar: Any) -> list[float]:
    """List the steps at which a scheduled scalar changes its slope.

    Args:
        scalar: A number, `[v0, v1, end]`, or `[start, v0, v1, end, v2, end2, ...]`; the
            form is not checked.

    Returns:
        Steps, ascending: `[0]` for a number, else the start and every end.

    Example:
        >>> steps_of([0.98, 0.5, 1500]), steps_of(0.02)
        ([0, 1500], [0])
    """
    if isinstance(scalar, Real):
        return [0]
    numbers = [0, *scalar] if len(scalar) == 3 else list(scalar)
    return [numbers[0], *numbers[3::2]]


def value_at(scalar: Any, step: float) -> float:
    """Return the value of a number or scheduled scalar at a step.

    Args:
        scalar: A number, `[v0, v1, end]`, or `[start, v0, v1, end, ...]`, as a plain
            list or OmegaConf's.
        step: The optimiser's step.
    """
    return C(OmegaConf.create(list(scalar)) if isinstance(scalar, list | tuple) else scalar, step, step)
