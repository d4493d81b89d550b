"""`msd-guidance`: mean-shift distillation in threestudio."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import threestudio
from threestudio.utils.base import BaseObject
from torch import Tensor

from ..distillation import MSD, SAMPLERS, SCHEDULES, Constant, Estimate, Prior, converged, rms
from ..distillation.product import FORGOTTEN, Split, require_acting
from ..distillation.protocols import Batch, Schedule
from ..errors import UserError
from ..fields import FieldError, number
from ..settings import build_part
from .base import LatentGuidance, half_square
from .targets import TargetCache
from .view import Renders, View

SAMPLER = {"type": "exact-score", "steps": 8, "kernel_interval": [0.0, 15.0]}
"""The default sampler's block."""
RANDOM_CAMERAS = "random-camera-datamodule"
"""The data module whose cameras never repeat."""


@threestudio.register("msd-guidance")
class MSDGuidance(LatentGuidance, BaseObject):
    """Mean-shift distillation: pulls renders y to x', the mean of the product of the
    model's distribution and a Gaussian kernel around y (Eq. 5-12).

    A call returns, beside what every guidance does (`loss_msd`, `grad_norm`, `nfe`):
    `shift_norm`, the root mean square of m = x' - y in latent units; `bandwidth`,
    lambda; and `finished`, 1 once every sample has converged by `stop_threshold`, else
    0.
    """

    @dataclass
    class Config(LatentGuidance.Config):
        # product sampler: {type: split | posterior | exact-score | tweedie, ...}, the arguments of a class in
        # `distillation.product`; the default's draws keep the product's spread at every bandwidth, see
        # docs/bandwidth.md
        sampler: dict = field(default_factory=lambda: dict(SAMPLER))
        # bandwidth lambda in units of latents: {type: constant | linear | cosine | exponential | adaptive,
        # start, end, ...}
        bandwidth: dict = field(default_factory=lambda: {"type": "exponential", "start": 8.0, "end": 1.0})
        # M, draws from the product averaged per estimate (Eq. 10); the paper uses 1
        draws_per_estimate: int = number(1, least=1, most=1000)
        # whether every particle keeps its noise, which makes its target x' a smooth function of the render
        fixed_noise: bool = False
        # estimate a particle's target at every k-th of its steps only; the steps between fit the cached one
        refresh_every: int = number(1, least=1)
        # a particle has converged, and costs no further calls, once lambda is at its end and the root mean
        # square of m, averaged over estimates, is at most this part of lambda; the run ends when all have
        # converged; 0 never stops, nor does a bandwidth that falls until the run's end
        stop_threshold: float = number(0.0, least=0)
        # the final fit: part of the run's steps, at its end, that fit the last target without network calls;
        # schedules run over the steps before; if all particles converge early, as many steps follow
        last_fit: float = number(0.0, least=0, below=1)

        def __post_init__(self) -> None:
            build_estimator(self.sampler, self.bandwidth, self.draws_per_estimate)
            super().__post_init__()

        @property
        def follows_progress(self) -> bool:
            """True unless the bandwidth is constant or adaptive and there is no final
            fit; `trainer_max_steps` is then required.
            """
            return falls_until_the_end(self.bandwidth) or self.last_fit > 0

    estimator: MSD
    name = "msd"
    paper = MSD.paper

    @classmethod
    def check_experiment(cls, experiment: Mapping[str, Any]) -> None:
        """Check the settings around the module's own, as the base class does, and that
        cameras repeat if a setting caches something per camera.

        Args:
            experiment: The whole config.

        Raises:
            UserError: The data module draws random cameras, which never repeat, and a
                setting needs repeating ones; or what the base class raises.
        """
        super().check_experiment(experiment)
        caching = caching_keys(experiment.get("system", {}).get("guidance") or {})
        if experiment.get("data_type") == RANDOM_CAMERAS and caching:
            raise UserError(
                f"system.guidance.{caching[0]}: belongs to cameras that come again, and those of "
                f"{RANDOM_CAMERAS} do not; use msd-camera-datamodule"
            )

    def configure(self) -> None:
        super().configure()
        self.estimator = build_estimator(self.cfg.sampler, self.cfg.bandwidth, self.cfg.draws_per_estimate)
        try:
            require_acting(self.estimator.sampler, self.model.denoiser.schedule)
        except FieldError as error:
            raise FieldError(f"system.guidance.sampler.{error}") from error
        warn_if_noise_is_forgotten(self.estimator, self.model.denoiser.schedule)
        if self.cfg.stop_threshold > 0 and falls_until_the_end(self.cfg.bandwidth):
            threestudio.warn(
                f"system.guidance.stop_threshold ends nothing with a bandwidth of type "
                f"{self.cfg.bandwidth['type']}, which is at its end when the run is"
            )
        self.targets = TargetCache(self.cfg.refresh_every, self.cfg.stop_threshold)
        self.converged_at: int | None = None
        self.warned = False

    @property
    def final_fit_steps(self) -> int:
        """Number of steps of the final fit, at the run's end, which makes no network
        calls.
        """
        return round(self.cfg.last_fit * (self.cfg.trainer_max_steps or 0))

    @property
    def scheduled_steps(self) -> int:
        """Number of steps over which schedules run: all but those of the final fit."""
        return super().scheduled_steps - self.final_fit_steps

    def distil(
        self, rgb: Renders, view: View, are_latents: bool = False
    ) -> tuple[dict[str, Tensor], Estimate]:
        if self.cfg.loss_space == "image" and not are_latents and self.all_fresh(view):
            losses, estimate = self.fit_images(rgb, view)
        else:
            losses, estimate = super().distil(rgb, view, are_latents)
        if self.has_converged(estimate):
            self._note_convergence()
        return losses, estimate

    def all_fresh(self, view: View) -> bool:
        """Tell whether no row of a batch needs an estimate, and so none an encoder."""
        keys = [] if view.index is None else view.index.tolist()
        return bool(keys) and not self.stale(keys) and self.targets.know_gradients(keys)

    def stale(self, keys: list[int]) -> list[int]:
        """List the rows whose target must be estimated anew at this step."""
        return self.targets.stale(keys, self.cfg.last_fit > 0 and self.step >= self.scheduled_steps)

    def fit_images(self, rgb: Renders, view: View) -> tuple[dict[str, Tensor], Estimate]:
        """Fit decoded targets without an encoder or network call; see `distil`.

        `grad_norm` and the estimate's gradient are those that the targets were
        estimated with.
        """
        estimate = self.targets.fit([] if view.index is None else view.index.tolist(), None)
        loss = half_square(self.images(rgb), self.target_images(estimate.target, view))
        return {"loss_msd": loss, "grad_norm": rms(estimate.gradient).mean()}, estimate

    def estimate(self, latents: Batch, prior: Prior, view: View) -> Estimate:
        """Estimate stale targets anew, and return the cached targets of all rows.

        Without an index in `view`, every target is estimated anew and nothing is
        cached.

        Args:
            latents: The renders' latents y, `[B, C, h, w]`.
            prior: The pretrained model under the prompt.
            view: Prompt, cameras and the particles' numbers, `index`.

        Raises:
            UserError: A setting caches something per particle, and the view has no
                index.
        """
        if view.index is None:
            if self.estimator.init(latents) or caching_keys(vars(self.cfg)):
                raise UserError(
                    "system.guidance: refresh_every > 1, last_fit, fixed_noise and the adaptive bandwidth "
                    "belong to particles or cameras that come again: the batch has no index that says which "
                    "these are"
                )
            return super().estimate(latents, prior, view)
        keys = view.index.tolist()
        stale = self.stale(keys)
        if stale:
            y, some, names = latents[stale], view.rows(stale), [keys[row] for row in stale]
            state = self.targets.state(names, self.estimator.init(y))
            anew = self.estimate_anew(y, prior if len(y) == len(keys) else self.prior(some), some, state)
            self.targets.put(names, anew, self.estimator.bandwidth.last)
        return self.targets.fit(keys, latents)

    def noise_key(self, view: View) -> int:
        return 0 if self.cfg.fixed_noise and view.index is not None else self.step

    def target_images(self, target: Batch, view: View) -> Batch:
        """Decode target latents `[B, C, h, w]` to images in [0, 1], `[B, 3, H, W]`; a
        cached target is decoded once.

        Raises:
            NonFiniteError: The images hold NaN or Inf.
        """
        if view.index is None:
            return super().target_images(target, view)
        decode = partial(super().target_images, view=view)
        return self.targets.images(view.index.tolist(), decode)

    def report(self, estimate: Estimate) -> dict[str, Any]:
        return {
            "shift_norm": rms(estimate.gradient).mean(),
            "bandwidth": estimate.sigma.mean(),
            "finished": float(self.has_converged(estimate)),
        }

    def has_converged(self, estimate: Estimate) -> bool:
        """Tell whether all particles have converged by `stop_threshold` and their last
        targets were fitted.

        For random views without cached targets, whether this batch has. False if
        `stop_threshold` is 0.

        Args:
            estimate: The step's estimate.
        """
        if self.cfg.stop_threshold == 0:
            return False
        if self.targets.entries:
            return self.targets.all_converged(max(self.cfg.refresh_every, self.final_fit_steps))
        lam = self.estimator.bandwidth.last
        small = converged(estimate.gradient, lam, self.cfg.stop_threshold)
        return bool((small & (estimate.sigma <= lam)).all())

    def _note_convergence(self) -> None:
        """Note the step; warn once if the system continues after it."""
        if self.converged_at is None:
            self.converged_at = self.step
        elif self.converged_at < self.step and not self.warned:
            self.warned = True
            threestudio.warn(
                f"system.guidance.stop_threshold was reached at step {self.converged_at}, "
                "but this system does not stop"
            )

    def hold_bandwidth(self, value: float | None) -> None:
        """Fix lambda from the next estimate on.

        Args:
            value: lambda, in [1e-6, 1e6]; None returns to the config's schedule.

        Raises:
            FieldError: `value` is out of range.
        """
        own = build_part(SCHEDULES, self.cfg.bandwidth, "bandwidth")
        self.estimator = replace(self.estimator, bandwidth=own if value is None else Constant(value, value))

    def checkpoint_state(self) -> dict[str, Any]:
        return {**super().checkpoint_state(), **self.targets.checkpoint()}

    def load_checkpoint_state(self, state: dict[str, Any]) -> None:
        super().load_checkpoint_state(state)
        self.targets.restore(state, self.device)


def caching_keys(settings: Mapping[str, Any]) -> list[str]:
    """List those settings in force that need particles or cameras that repeat:
    `refresh_every`, `fixed_noise`, `last_fit` and `bandwidth.type`.

    Args:
        settings: The settings of `msd-guidance`.
    """
    caching = {
        "refresh_every": settings.get("refresh_every", 1) > 1,
        "fixed_noise": settings.get("fixed_noise", False),
        "last_fit": settings.get("last_fit", 0) > 0,
        "bandwidth.type": (settings.get("bandwidth") or {}).get("type") == "adaptive",
    }
    return [key for key, caches in caching.items() if caches]


def falls_until_the_end(bandwidth: Mapping[str, Any]) -> bool:
    """Tell whether a bandwidth's block has a `type` that reaches its end only when the
    run ends: all but constant and adaptive.
    """
    return bandwidth["type"] not in ("constant", "adaptive")


def warn_if_noise_is_forgotten(estimator: MSD, schedule: Schedule) -> None:
    """Warn in the log if a `Split` sampler's first kernel step replaces the state by
    the render, so that all its draws are alike.

    Args:
        estimator: The estimator; other samplers pass.
        schedule: The model's noise levels.
    """
    sampler, lam = estimator.sampler, float(estimator.bandwidth(0.0, {}))
    if not isinstance(sampler, Split) or (kept := sampler.first_pull(schedule, lam)) >= FORGOTTEN:
        return
    draws = sampler.interval_that_draws(schedule, lam)
    mend = f"system.guidance.sampler.kernel_interval=[{draws[0]:g},{draws[1]:g}] or " if draws else ""
    threestudio.warn(
        f"system.guidance.sampler: at bandwidth.start={lam:g} the kernel's first pull leaves {kept:.0e} of a "
        f"draw's noise, so that all draws are alike; set {mend}system.guidance.sampler.type=exact-score"
    )


def build_estimator(sampler: Any, bandwidth: Any, draws: int) -> MSD:
    """Build the MSD estimator from a config's blocks.

    Args:
        sampler: The block `sampler`, with its `type`.
        bandwidth: The block `bandwidth`, with its `type`.
        draws: Draws averaged per estimate.

    Raises:
        FieldError: A type or key is unknown, or a value does not fit; the message names
            the key.
    """
    return MSD(build_part(SAMPLERS, sampler, "sampler"), build_part(SCHEDULES, bandwidth, "bandwidth"), draws)
