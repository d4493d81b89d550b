"""`msd-vsd-guidance`: variational score distillation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import threestudio
import torch
from threestudio.models.prompt_processors.base import PromptProcessorOutput
from threestudio.utils.base import BaseModule
from threestudio.utils.misc import C
from torch import Tensor

from ..distillation import VSD, Denoiser, Prior, expand
from ..distillation.estimators import uniform_sigma
from ..priors import CFG, Condition, Conditional, PriorError, VPNetwork
from ..priors.lora import LoRANetwork
from .base import LatentGuidance, View
from .parts import require_time_range


@threestudio.register("msd-vsd-guidance")
class VSDGuidance(LatentGuidance, BaseModule):
    """g = w(t) (eps_hat(z_t) - eps_phi(z_t)), w(t) = 1 - abar_t (ProlificDreamer, Wang et al. 2023b, Eq. 9).

    phi, the denoiser of the renders' own distribution, is the pretrained UNet with low-rank adapters. They
    are this module's parameters, trained by `loss_lora`, phi's denoising loss on the current renders, and
    want an optimiser group of their own:

        optimizer.params.guidance.lr: 1.0e-4

    All particles of a batch share phi, which is conditioned on the prompt without its view and, with
    `camera_condition_type`, on the camera. The defaults are the source's, as in threestudio's
    `stable-diffusion-vsd-guidance`. Returns `loss_vsd` and `loss_lora` beside what every guidance returns;
    `network_calls` counts phi's training call too, but no backward passes.
    """

    @dataclass
    class Config(LatentGuidance.Config, BaseModule.Config):
        """Settings of `msd-vsd-guidance`."""

        # of the pretrained model (7.5) and of phi, there against a phi that does not know the camera (1 is
        # none)
        guidance_scale: Any = 7.5
        guidance_scale_lora: Any = 1.0
        # t is drawn uniformly between these parts of the training timesteps; phi is trained at all of them
        min_step_percent: float = 0.02
        max_step_percent: float = 0.98
        lora_rank: int = 4
        # what phi is told of the camera: none, extrinsics (the batch's c2w) or mvp (its mvp_mtx)
        camera_condition_type: str = "none"
        # part of phi's training steps that hide the camera, for its guidance
        camera_dropout: float = 0.1

        def __post_init__(self) -> None:
            super().__post_init__()
            require_time_range(self.min_step_percent, self.max_step_percent)
            if self.lora_rank < 1:
                raise ValueError(f"lora_rank must be at least 1, got {self.lora_rank}")
            if self.camera_condition_type not in CAMERAS:
                raise ValueError(
                    f"camera_condition_type must be {', '.join(CAMERAS)}, got {self.camera_condition_type!r}"
                )
            if not 0 <= self.camera_dropout <= 1:
                raise ValueError(f"camera_dropout must lie in [0, 1], got {self.camera_dropout}")

    cfg: Config
    name = "vsd"

    def configure(self) -> None:
        """Load the pretrained model, give it adapters, and build the estimator."""
        super().configure()
        self.estimator = VSD((self.cfg.min_step_percent, self.cfg.max_step_percent))
        camera = self.cfg.camera_condition_type != "none"
        unet, network = self.prior.backbone, self.prior.network
        if not isinstance(network, VPNetwork):
            raise PriorError(
                f"{self.cfg.pretrained_model_name_or_path}: VSD needs a UNet, not a {type(unet).__name__}"
            )
        self.lora = LoRANetwork(unet, network.network, self.cfg.lora_rank, camera, self.cfg.seed)
        self.phi = self.prior.network.with_network(self.lora)

    @property
    def rows(self) -> int:
        """Rows of the pretrained model and of phi."""
        return super().rows + self.phi.rows

    def conditioned(self, prompt_utils: PromptProcessorOutput, view: View) -> Prior:
        """The pretrained model and phi, under the prompt."""
        return replace(super().conditioned(prompt_utils, view), phi=self.phi_denoiser(prompt_utils, view))

    def phi_denoiser(self, prompt_utils: PromptProcessorOutput, view: View) -> Denoiser:
        """phi under the prompt and the camera, with guidance towards the camera where a scale other than 1 is set."""
        scale = C(self.cfg.guidance_scale_lora, self.epoch, self.step)
        condition = self.phi_condition(prompt_utils, view)
        if scale == 1 or "class_labels" not in condition:
            return Conditional(self.phi, condition)
        return CFG(self.phi, condition, hidden(condition), scale)

    def phi_condition(self, prompt_utils: PromptProcessorOutput, view: View) -> Condition:
        """The prompt without its view, and the camera's matrix.

        Raises:
            ValueError: If the camera is asked for and the batch has none.
        """
        cond, _ = prompt_utils.get_text_embeddings(*view.arguments, False).chunk(2)
        if self.cfg.camera_condition_type == "none":
            return self.prior.condition(cond)
        name = CAMERAS[self.cfg.camera_condition_type]
        matrices = getattr(view, name)
        if matrices is None:
            raise ValueError(
                f"camera_condition_type {self.cfg.camera_condition_type}: the batch has no {name}"
            )
        return {**self.prior.condition(cond), "class_labels": matrices.flatten(1)}

    def further_losses(
        self, latents: Tensor, prompt_utils: PromptProcessorOutput, view: View, index: Tensor | None
    ) -> dict[str, Tensor]:
        """phi's denoising loss on the current renders, in units of the network's own prediction (ProlificDreamer, Eq. 8)."""
        noise = self.noise(len(latents), index, "lora", self.step)
        condition = self.phi_condition(prompt_utils, view)
        if "class_labels" in condition:
            kept = torch.rand((), generator=noise.generators[0]) >= self.cfg.camera_dropout
            condition = condition if kept else hidden(condition)
        sigma = uniform_sigma(latents, Prior(self.phi, self.phi.schedule), noise, (0.0, 1.0))
        z = latents + expand(sigma, latents) * noise(latents)
        error = (self.phi(z, sigma, condition) - latents).square()
        return {"loss_lora": (expand(self.phi.training_weight(sigma), error) * error).mean()}


CAMERAS = {"none": "", "extrinsics": "c2w", "mvp": "mvp_mtx"}


def hidden(condition: Condition) -> Condition:
    """The same condition with the camera's matrix zero, which stands for an unknown camera."""
    return {**condition, "class_labels": torch.zeros_like(condition["class_labels"])}
