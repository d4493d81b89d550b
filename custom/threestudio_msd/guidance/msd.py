"""`msd-guidance`: mean-shift distillation in threestudio."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import threestudio
import torch
from threestudio.utils.base import BaseObject
from torch import Tensor

from ..distillation import MSD, SAMPLERS, SCHEDULES, Adaptive, Bandwidth, Estimate, Prior, ProductSampler, rms
from .base import LatentGuidance
from .parts import build_part


@threestudio.register("msd-guidance")
class MSDGuidance(LatentGuidance, BaseObject):
    """Pulls renders to x', the mean of the product of the model's distribution and a Gaussian kernel around them (Eq. 5-12).

    Returns, beside what every guidance returns (see `LatentGuidance.__call__`):
    `loss_msd`; `shift_norm`, the root mean square of m = x' - y in latent units; `bandwidth`, lambda;
    `converged`, 1 once every sample's shift is at most `stop_threshold`.
    """

    @dataclass
    class Config(LatentGuidance.Config):
        """Settings of `msd-guidance`."""

        # product sampler: {type: posterior | split | tweedie, ...}, with the arguments of that class of
        # `distillation.product`
        sampler: dict = field(default_factory=lambda: {"type": "split", "steps": 8})
        # bandwidth lambda in units of latents: {type: constant | linear | cosine | exponential | adaptive,
        # start, end, ...}
        bandwidth: dict = field(default_factory=lambda: {"type": "exponential", "start": 8.0, "end": 1.0})
        # M, product samples averaged per estimate (Eq. 10); the paper uses 1
        samples: int = 1
        # fresh: new noise every step; fixed: every particle keeps its noise, which makes its x' a smooth
        # function of the render
        noise: str = "fresh"
        # estimate x' every k-th step only and fit it in between at no network calls; needs the same particles
        # at every step
        refresh_every: int = 1
        # stop once the root mean square of every sample's shift is at most this, in units of latents; 0 never
        # stops
        stop_threshold: float = 0.0

        def __post_init__(self) -> None:
            super().__post_init__()
            self.parts()
            for name, least in (("samples", 1), ("refresh_every", 1), ("stop_threshold", 0)):
                if getattr(self, name) < least:
                    raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
            if self.noise not in ("fresh", "fixed"):
                raise ValueError(f"noise must be fresh or fixed, got {self.noise!r}")

        def parts(self) -> tuple[ProductSampler, Bandwidth]:
            """The product sampler and the bandwidth schedule that the config describes."""
            return build_part(SAMPLERS, self.sampler, "sampler"), build_part(
                SCHEDULES, self.bandwidth, "bandwidth"
            )

    cfg: Config
    name = "msd"

    def configure(self) -> None:
        """Load the pretrained model and build the estimator."""
        super().configure()
        sampler = build_part(SAMPLERS, self.cfg.sampler, "sampler")
        self.bandwidth = build_part(SCHEDULES, self.cfg.bandwidth, "bandwidth")
        self.estimator = MSD(sampler, self.bandwidth, self.cfg.samples)
        self.kept: dict[str, Tensor] = {}

    def estimate(self, latents: Tensor, prior: Prior, index: Tensor | None) -> Estimate:
        """Estimate x', or take the last one while it is to be fitted.

        Raises:
            ValueError: If a setting needs the same particles at every step and the batch does not say which
                these are.
        """
        if self.cfg.refresh_every > 1 or isinstance(self.bandwidth, Adaptive):
            self._require_same_particles(index)
        if (
            self.cfg.refresh_every == 1
            or "target" not in self.kept
            or self.step % self.cfg.refresh_every == 0
        ):
            step = 0 if self.cfg.noise == "fixed" else self.step
            estimate = self.estimator(
                latents, prior, self.noise(latents.shape[0], index, step), self.progress
            )
            self.bandwidth.observe(estimate.target - latents)
            self._keep(estimate)
            return estimate
        target = self.kept["target"]
        return Estimate(target, latents - target, 0, self.kept["lam"], denoised=target)

    def report(self, estimate: Estimate) -> dict[str, Any]:
        """Shift, bandwidth and whether the optimisation has converged."""
        shift = rms(estimate.gradient)
        done = self.cfg.stop_threshold > 0 and bool((shift <= self.cfg.stop_threshold).all())
        return {"shift_norm": shift.mean(), "bandwidth": estimate.sigma.mean(), "converged": float(done)}

    def checkpoint_state(self) -> dict[str, Any]:
        """See `LatentGuidance.checkpoint_state`."""
        adaptive = dict(self.bandwidth.state) if isinstance(self.bandwidth, Adaptive) else {}
        return {**super().checkpoint_state(), "kept": dict(self.kept), "adaptive": adaptive}

    def load_checkpoint_state(self, state: dict[str, Any]) -> None:
        """See `LatentGuidance.load_checkpoint_state`."""
        super().load_checkpoint_state(state)
        self.kept = {name: tensor.to(self.device) for name, tensor in state["kept"].items()}
        if isinstance(self.bandwidth, Adaptive):
            self.bandwidth.state.update(
                {name: tensor.to(self.device) for name, tensor in state["adaptive"].items()}
            )

    def _require_same_particles(self, index: Tensor | None) -> None:
        if index is None or not torch.equal(index, self.kept.setdefault("index", index)):
            raise ValueError(
                "refresh_every > 1 and the adaptive bandwidth need the same particles at every step: text-to-2D, all at once"
            )

    def _keep(self, estimate: Estimate) -> None:
        if self.cfg.refresh_every > 1:
            self.kept.update(target=estimate.target, lam=estimate.sigma)
