"""`msd-guidance`: mean-shift distillation in threestudio."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import threestudio
import torch
from threestudio.models.prompt_processors.base import PromptProcessorOutput
from threestudio.utils.base import BaseObject
from torch import Tensor

from ..distillation import MSD, SAMPLERS, SCHEDULES, Constant, Estimate, State, converged, rms, smoothed
from ..distillation.product import require_acting
from ..distillation.protocols import Batch
from ..errors import UserError
from ..fields import FieldError, number
from .base import Index, LatentGuidance, View
from .kept import KeptTarget
from .parts import build_part

NEVER_AGAIN = "random-camera-datamodule"
"""Whose cameras are drawn anew at every step."""


@threestudio.register("msd-guidance")
class MSDGuidance(LatentGuidance, BaseObject):
    """Pulls renders to x', the mean of the product of the model's distribution and a Gaussian kernel around
    them (Eq. 5-12).

    Returns, beside what every guidance returns (see `LatentGuidance.__call__`):
    `loss_msd`; `shift_norm`, the root mean square of m = x' - y in latent units; `bandwidth`, lambda;
    `finished`, 1 once every sample has converged, see `stop_threshold`.
    """

    @dataclass
    class Config(LatentGuidance.Config):
        """Settings of `msd-guidance`."""

        # product sampler: {type: split | posterior | exact-score | tweedie, ...}, arguments of that class of
        # `distillation.product`
        sampler: dict = field(default_factory=lambda: {"type": "split", "steps": 8})
        # bandwidth lambda in units of latents: {type: constant | linear | cosine | exponential | adaptive,
        # start, end, ...}
        bandwidth: dict = field(default_factory=lambda: {"type": "exponential", "start": 8.0, "end": 1.0})
        # M, draws from the product averaged per estimate (Eq. 10); the paper uses 1
        draws_per_estimate: int = number(1, least=1, most=1000)
        # whether every particle keeps its noise, which makes its x' a smooth function of the render
        fixed_noise: bool = False
        # estimate a particle's x' at every k-th of its steps only and fit it in between, the network at rest
        refresh_every: int = number(1, least=1)
        # a particle has converged, and costs no further calls, once lambda is at its end and the root mean
        # square of m, averaged over estimates, is at most this part of lambda; the run ends when all have; 0
        # never stops, nor does a bandwidth that falls until the run's end
        stop_threshold: float = number(0.0, least=0)
        # part of the run's steps that fit the last x' at its end, the network at rest: schedules run over the
        # steps before; where all particles converge early, as many steps follow and no more
        last_fit: float = number(0.0, least=0, below=1)

        def __post_init__(self) -> None:
            build_estimator(self.sampler, self.bandwidth, self.draws_per_estimate)
            super().__post_init__()

        @property
        def follows_progress(self) -> bool:
            """A bandwidth that is constant, or follows the shifts, does not; a last fit does."""
            return falls_until_the_end(self.bandwidth) or self.last_fit > 0

    cfg: Config
    name = "msd"
    paper = MSD.paper

    @classmethod
    def check_experiment(cls, experiment: Mapping[str, Any]) -> None:
        """Check also that what is remembered has cameras or particles that come again.

        Raises:
            UserError: Cameras are drawn anew at every step, and a setting is of such that come again.
        """
        super().check_experiment(experiment)
        system = experiment.get("system", {})
        settings = system.get("guidance") or {}
        remembering = {
            "refresh_every": settings.get("refresh_every", 1) > 1,
            "fixed_noise": settings.get("fixed_noise", False),
            "last_fit": settings.get("last_fit", 0) > 0,
            "bandwidth.type": (settings.get("bandwidth") or {}).get("type") == "adaptive",
        }
        if experiment.get("data_type") == NEVER_AGAIN and any(remembering.values()):
            key = next(key for key, remembers in remembering.items() if remembers)
            raise UserError(
                f"system.guidance.{key}: belongs to cameras that come again, and those of {NEVER_AGAIN} do "
                "not; use msd-camera-datamodule"
            )

    def configure(self) -> None:
        """Load the pretrained model and build the estimator."""
        super().configure()
        self.estimator = build_estimator(self.cfg.sampler, self.cfg.bandwidth, self.cfg.draws_per_estimate)
        self._require_acting()
        if self.cfg.stop_threshold > 0 and falls_until_the_end(self.cfg.bandwidth):
            threestudio.warn(
                f"system.guidance.stop_threshold ends nothing with a bandwidth of type "
                f"{self.cfg.bandwidth['type']}, which is at its end when the run is"
            )
        self.kept: dict[int, KeptTarget] = {}
        self.states: dict[int, State] = {}
        self.ended: int | None = None
        self.ignored = False

    def _require_acting(self) -> None:
        try:
            require_acting(self.estimator.sampler, self.model.denoiser.schedule)
        except FieldError as error:
            raise FieldError(f"system.guidance.sampler.{error}") from error

    def estimate(
        self, latents: Batch, prompt_utils: PromptProcessorOutput, view: View, index: Index | None
    ) -> Estimate:
        """Estimate x' anew for the particles that are due, and take the others' last one.

        Raises:
            UserError: If a setting concerns particles that come again and the batch does not say which these
                are.
        """
        remembered = self.estimator.init(latents)
        if index is None:
            if remembered or self.cfg.fixed_noise or self.cfg.refresh_every > 1 or self.cfg.last_fit > 0:
                raise UserError(
                    "system.guidance: refresh_every > 1, last_fit, fixed_noise and the adaptive bandwidth "
                    "belong to particles or cameras that come again: the batch has no index that says which "
                    "these are"
                )
            return super().estimate(latents, prompt_utils, view, index)
        keys = index.tolist()
        due = [row for row, key in enumerate(keys) if self._is_due(key)]
        if due:
            self._refresh(latents[due], prompt_utils, view.rows(due), index[due])
        kept = [self.kept[key] for key in keys]
        self.kept.update({key: one.older() for key, one in zip(keys, kept, strict=True)})
        target = torch.stack([one.latents for one in kept])
        sigma = torch.stack([one.sigma for one in kept])
        return Estimate(target, latents - target, 0, sigma, denoised=target)

    @property
    def last_fit_steps(self) -> int:
        """Steps of the last fit."""
        return round(self.cfg.last_fit * (self.cfg.trainer_max_steps or 0))

    @property
    def scheduled_steps(self) -> int:
        """All steps but those of the last fit."""
        return super().scheduled_steps - self.last_fit_steps

    def _is_due(self, key: int) -> bool:
        one = self.kept.get(key)
        if one is None:
            return True
        in_last_fit = self.cfg.last_fit > 0 and self.step >= self.scheduled_steps
        return one.age >= self.cfg.refresh_every and not one.finished and not in_last_fit

    def _refresh(self, latents: Batch, prompt_utils: PromptProcessorOutput, view: View, index: Index) -> None:
        """Estimate x' of some particles, and keep it with what the bandwidth remembers of them."""
        keys, prior = index.tolist(), self.conditioned(prompt_utils, view)
        noise = self.noise(len(keys), index, 0 if self.cfg.fixed_noise else self.step)
        state = self._gathered(latents, keys)
        estimate = self.estimator(latents, prior, noise, self.progress, state)
        sigmas, shifts = estimate.sigma.expand(len(keys)), -estimate.gradient
        for row, key in enumerate(keys):
            self.kept[key] = self._kept(key, estimate.target[row], sigmas[row], shifts[row])
            self.states[key] = {name: tensor[row] for name, tensor in estimate.state.items()}

    def _kept(self, key: int, target: Tensor, sigma: Tensor, shift: Tensor) -> KeptTarget:
        """What is kept of a particle's new estimate; one at the last lambda alone is no average of shifts."""
        before, lam = self.kept.get(key), self.estimator.bandwidth.last
        if self.cfg.stop_threshold == 0 or sigma > lam:
            return KeptTarget(target, sigma)
        if before is None or before.shift is None:
            return KeptTarget(target, sigma, shift=shift)
        shift = smoothed(before.shift, shift)
        finished = bool(converged(shift[None], lam, self.cfg.stop_threshold))
        return KeptTarget(target, sigma, shift=shift, finished=finished)

    def _gathered(self, latents: Batch, keys: list[int]) -> State:
        """What the estimator remembers of the particles of a batch, row by row."""
        fresh = self.estimator.init(latents)
        return {
            name: torch.stack(
                [self.states.get(key, {}).get(name, first[row]) for row, key in enumerate(keys)]
            )
            for name, first in fresh.items()
        }

    def target_images(self, target: Batch, index: Index | None) -> Batch:
        """The target as images; a kept one is decoded once. See `LatentGuidance.target_images`."""
        if index is None:
            return super().target_images(target, index)
        keys = index.tolist()
        new = [row for row, key in enumerate(keys) if self.kept[key].images is None]
        if new:
            for row, images in zip(new, super().target_images(target[new], index[new]), strict=True):
                self.kept[keys[row]] = replace(self.kept[keys[row]], images=images)
        return torch.stack([self.kept[key].images for key in keys])

    def report(self, estimate: Estimate) -> dict[str, Any]:
        """Shift, bandwidth and whether the optimisation may stop."""
        shift, finished = rms(estimate.gradient), self._all_converged(estimate)
        if finished:
            self._note_end()
        return {"shift_norm": shift.mean(), "bandwidth": estimate.sigma.mean(), "finished": float(finished)}

    def _all_converged(self, estimate: Estimate) -> bool:
        """Whether every particle has, and its last target was fitted; of random views, whether these have."""
        if self.cfg.stop_threshold == 0:
            return False
        if self.kept:
            fitted = max(self.cfg.refresh_every, self.last_fit_steps)
            return all(one.finished and one.age >= fitted for one in self.kept.values())
        lam = self.estimator.bandwidth.last
        small = converged(estimate.gradient, lam, self.cfg.stop_threshold)
        return bool((small & (estimate.sigma <= lam)).all())

    def _note_end(self) -> None:
        """Say so once where the system goes on although the run may stop."""
        if self.ended is None:
            self.ended = self.step
        elif self.ended < self.step and not self.ignored:
            self.ignored = True
            threestudio.warn(
                f"system.guidance.stop_threshold was reached at step {self.ended}, "
                "but this system does not stop"
            )

    def hold_bandwidth(self, value: float | None) -> None:
        """Keep lambda at a value from the next estimate on; None: the schedule goes on."""
        own = build_part(SCHEDULES, self.cfg.bandwidth, "bandwidth")
        held = own if value is None else Constant(value, value)
        self.estimator = replace(self.estimator, bandwidth=held)

    def checkpoint_state(self) -> dict[str, Any]:
        """See `LatentGuidance.checkpoint_state`."""
        kept = {key: one.checkpoint() for key, one in self.kept.items()}
        return {**super().checkpoint_state(), "kept": kept, "states": dict(self.states)}

    def load_checkpoint_state(self, state: dict[str, Any]) -> None:
        """See `LatentGuidance.load_checkpoint_state`."""
        super().load_checkpoint_state(state)
        self.kept = {key: KeptTarget.restored(one, self.device) for key, one in state.get("kept", {}).items()}
        self.states = {
            key: {name: tensor.to(self.device) for name, tensor in one.items()}
            for key, one in state.get("states", {}).items()
        }


def falls_until_the_end(bandwidth: Mapping[str, Any]) -> bool:
    """Whether a bandwidth is at its end when the run is: not if it is constant or follows the shifts."""
    return bandwidth["type"] not in ("constant", "adaptive")


def build_estimator(sampler: Any, bandwidth: Any, draws: int) -> MSD:
    """The estimator that a config's blocks describe.

    Raises:
        FieldError: If a part cannot be built; the message names its key.
    """
    return MSD(build_part(SAMPLERS, sampler, "sampler"), build_part(SCHEDULES, bandwidth, "bandwidth"), draws)
