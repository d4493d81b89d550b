"""`msd-vsd-guidance`: variational score distillation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import threestudio
import torch
from threestudio.models.prompt_processors.base import PromptProcessorOutput
from threestudio.utils.base import BaseModule
from torch import Tensor

from ..distillation import VSD, Denoiser, Estimate, expand, on_device, uniform, uniform_sigma
from ..distillation.protocols import Batch
from ..fields import FieldError, choice, number, scheduled
from ..priors import CFG, Condition, PriorError, VPDenoiser
from ..priors.lora import LoRANetwork
from .base import Index, TimedGuidance, View

CAMERAS = {"none": "", "extrinsics": "c2w", "mvp": "mvp_mtx"}
"""Where in a batch the matrix lies that `camera_condition_type` names."""


@threestudio.register("msd-vsd-guidance")
class VSDGuidance(TimedGuidance, BaseModule):
    """g = w(t) (eps_hat(z_t) - eps_phi(z_t)), w(t) = 1 - abar_t (ProlificDreamer, Wang et al. 2023b, Eq. 9).

    phi, the denoiser of the renders' own distribution, is the pretrained UNet with low-rank adapters. They
    are this module's parameters, trained by `loss_lora`, phi's denoising loss on the current renders, and
    want an optimiser group of their own:

        optimizer.params.guidance.lr: 1.0e-4

    All particles of a batch share phi, which is conditioned on the prompt without its view and, with
    `camera_condition_type`, on the camera. The defaults are the source's, as in threestudio's
    `stable-diffusion-vsd-guidance`. Returns `loss_vsd` and `loss_lora` beside what every guidance returns;
    `nfe` counts phi's training too, but no backward passes.
    """

    @dataclass
    class Config(TimedGuidance.Config, BaseModule.Config):
        """Settings of `msd-vsd-guidance`."""

        # of the pretrained model (7.5) and of phi, there against a phi that does not know the camera (1 is
        # none)
        guidance_scale: Any = scheduled(7.5)
        guidance_scale_lora: Any = scheduled(1.0)
        lora_rank: int = number(4, least=1, most=1024)
        # what phi is told of the camera: none, extrinsics (the batch's c2w) or mvp (its mvp_mtx)
        camera_condition_type: str = choice("none", CAMERAS)
        # part of phi's training steps that hide the camera, for its guidance
        camera_dropout: float = number(0.1, least=0, most=1)

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.enable_sequential_cpu_offload:
                raise FieldError(
                    "enable_sequential_cpu_offload: expected false, as adapters are trained on the network; "
                    "enable_vae_slicing, enable_vae_tiling and a smaller batch save memory too"
                )

    cfg: Config
    name = "vsd"
    paper = VSD.paper

    @classmethod
    def losses(cls) -> tuple[str, ...]:
        """See `LatentGuidance.losses`."""
        return (cls.name, "lora")

    def configure(self) -> None:
        """Load the pretrained model and give it adapters."""
        super().configure()
        camera = self.cfg.camera_condition_type != "none"
        unet, denoiser = self.model.backbone, self.model.denoiser
        if not isinstance(denoiser, VPDenoiser):
            raise PriorError(
                f"{self.cfg.pretrained_model_name_or_path}: VSD needs a UNet, not a {type(unet).__name__}"
            )
        self.lora = LoRANetwork(unet, denoiser.network, self.cfg.lora_rank, camera, self.cfg.seed)
        self.phi = self.model.denoiser.with_network(self.lora)

    @property
    def evaluations(self) -> int:
        """Rows of the pretrained model and of phi."""
        return super().evaluations + self.phi.evaluations

    def apart(
        self,
        latents: Batch,
        prompt_utils: PromptProcessorOutput,
        view: View,
        index: Index | None = None,
        view_dependent: bool | None = None,
    ) -> Estimate:
        """See `LatentGuidance.apart`; with phi as it is, under the prompt and the camera."""
        self.estimator = VSD(self.phi_denoiser(prompt_utils, view), self.time_range)
        return super().apart(latents, prompt_utils, view, index, view_dependent)

    def phi_denoiser(self, prompt_utils: PromptProcessorOutput, view: View) -> Denoiser:
        """phi under the prompt and the camera, with guidance towards the camera where there is one."""
        condition = self.phi_condition(prompt_utils, view)
        scale = self.now(self.cfg.guidance_scale_lora) if "class_labels" in condition else 1.0
        return CFG(self.phi, condition, hidden(condition), scale).denoiser

    def phi_condition(self, prompt_utils: PromptProcessorOutput, view: View) -> Condition:
        """The prompt without its view, and the camera's matrix.

        Raises:
            ValueError: If the camera is asked for and the batch has none.
        """
        cond, _ = prompt_utils.get_text_embeddings(*view.arguments, False).chunk(2)
        if self.cfg.camera_condition_type == "none":
            return self.model.condition(cond)
        name = CAMERAS[self.cfg.camera_condition_type]
        matrices = getattr(view, name)
        if matrices is None:
            raise ValueError(
                f"camera_condition_type {self.cfg.camera_condition_type}: the batch has no {name}"
            )
        return {**self.model.condition(cond), "class_labels": matrices.flatten(1)}

    def further_losses(
        self, latents: Batch, prompt_utils: PromptProcessorOutput, view: View, index: Index | None
    ) -> dict[str, Tensor]:
        """phi's denoising loss on the current renders, in units of the network's own prediction
        (ProlificDreamer, Eq. 8).
        """
        noise = self.noise(len(latents), index, "lora", self.step)
        condition = self.phi_condition(prompt_utils, view)
        if "class_labels" in condition:
            dropped = uniform(noise, latents) < self.cfg.camera_dropout
            condition = hidden(condition, on_device(dropped, latents.device, torch.bool))
        sigma = uniform_sigma(noise, latents, self.phi.schedule, (0.0, 1.0))
        z = latents + expand(sigma, latents) * noise(latents)
        error = (self.phi(z, sigma, condition) - latents).square()
        return {"loss_lora": (expand(self.phi.training_weight(sigma), error) * error).mean()}


def hidden(condition: Condition, rows: Tensor | None = None) -> Condition:
    """The same condition with the camera's matrix zero, which stands for an unknown camera: everywhere, or
    where `rows` says.
    """
    if "class_labels" not in condition:
        return condition
    matrices = condition["class_labels"]
    rows = torch.ones(len(matrices), dtype=torch.bool, device=matrices.device) if rows is None else rows
    return {**condition, "class_labels": matrices.masked_fill(rows[:, None], 0.0)}
