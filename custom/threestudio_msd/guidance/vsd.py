"""`msd-vsd-guidance`: variational score distillation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import threestudio
import torch
from threestudio.utils.base import BaseModule
from torch import Tensor

from ..distillation import VSD, Denoiser, expand, on_device, uniform, uniform_sigma
from ..distillation.protocols import Batch
from ..fields import FieldError, choice, number, scheduled
from ..priors import CFG, Condition, Family, PriorError
from ..priors.lora import LoRANetwork
from .timed import TimedGuidance
from .view import View

CAMERAS = {"none": "", "extrinsics": "c2w", "mvp": "mvp_mtx"}
"""`camera_condition_type` -> the batch's matrix that it stands for."""


@threestudio.register("msd-vsd-guidance")
class VSDGuidance(TimedGuidance, BaseModule):
    """Variational score distillation: g = w(t) (eps_hat(z_t) - eps_phi(z_t)), w(t) = 1
    - abar_t (ProlificDreamer, Wang et al. 2023b, Eq. 9).

    phi, the denoiser of the renders' own distribution, is the pretrained UNet with
    low-rank adapters. They are this module's parameters, trained by `loss_lora`, phi's
    denoising loss on the current renders, and need an optimiser group of their own:

        optimizer.params.guidance.lr: 1.0e-4

    All particles of a batch share phi, which is conditioned on the prompt without its
    view and, with `camera_condition_type`, on the camera. The defaults are those of
    threestudio's `stable-diffusion-vsd-guidance`, but for the camera (`extrinsics`
    there), which images have not. A call returns
    `loss_vsd` and `loss_lora`, and as every guidance `grad_norm`, `nfe` and `sigma`;
    `nfe` counts phi's training too, but no backward passes.

    Raises:
        PriorError: The pretrained model is no UNet, or peft is missing.
    """

    @dataclass
    class Config(TimedGuidance.Config, BaseModule.Config):
        # of the pretrained model (7.5) and of phi, there against a phi that does not know the camera (1 is
        # none)
        guidance_scale: Any = scheduled(7.5)
        guidance_scale_lora: Any = scheduled(1.0)
        lora_rank: int = number(4, least=1, most=1024)
        # the camera's matrix that phi is conditioned on: none, extrinsics (c2w) or mvp (mvp_mtx)
        camera_condition_type: str = choice("none", CAMERAS)
        # part of phi's training steps that hide the camera, for its guidance
        camera_dropout: float = number(0.1, least=0, most=1)

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.enable_sequential_cpu_offload:
                raise FieldError(
                    "enable_sequential_cpu_offload: expected false, as adapters are trained on the network; "
                    "loss_space image and a smaller batch save memory too"
                )

    name = "vsd"
    paper = VSD.paper
    gives_targets = False

    @classmethod
    def losses(cls) -> tuple[str, ...]:
        return (cls.name, "lora")

    def configure(self) -> None:
        super().configure()
        camera = self.cfg.camera_condition_type != "none"
        unet, denoiser = self.model.backbone, self.model.denoiser
        scale = 2.0 ** round(math.log2(math.prod(self.model.latent_shape)))
        self.lora = LoRANetwork(unet, denoiser.network, self.cfg.lora_rank, camera, self.cfg.seed, scale)
        self.phi = self.model.denoiser.with_network(self.lora)

    def require_family(self, family: Family) -> None:
        super().require_family(family)
        if not family.is_unet:
            model = self.cfg.pretrained_model_name_or_path
            raise PriorError(f"{model}: VSD needs a UNet, which {family.name} has not")

    @property
    def evaluations(self) -> int:
        return super().evaluations + self.phi.evaluations

    def make_estimator(self, view: View) -> VSD:
        return VSD(self.phi_denoiser(view), self.time_range)

    def phi_denoiser(self, view: View) -> Denoiser:
        """Return phi as a denoiser D(z, sigma), conditioned on the prompt and the
        camera.

        If phi knows the camera, it is guided towards it by `guidance_scale_lora`.

        Args:
            view: Prompt and cameras.

        Raises:
            ValueError: `camera_condition_type` names a matrix that the view lacks.
        """
        condition = self.phi_condition(view)
        scale = self.now(self.cfg.guidance_scale_lora) if "class_labels" in condition else 1.0
        return CFG(self.phi, condition, hidden(condition), scale).denoiser

    def phi_condition(self, view: View) -> Condition:
        """Return phi's condition: that of the prompt without words for the view, and
        with `camera_condition_type` the camera's matrix as `class_labels`, `[B, 16]`.

        Args:
            view: Prompt and cameras.

        Raises:
            ValueError: `camera_condition_type` names a matrix that the view lacks.
        """
        cond, _ = view.prompt.get_text_embeddings(*view.cameras.values(), False).chunk(2)
        if self.cfg.camera_condition_type == "none":
            return self.model.condition(cond)
        name = CAMERAS[self.cfg.camera_condition_type]
        matrices = getattr(view, name)
        if matrices is None:
            raise ValueError(
                f"camera_condition_type {self.cfg.camera_condition_type}: the batch has no {name}"
            )
        return {**self.model.condition(cond), "class_labels": matrices.flatten(1)}

    def further_losses(self, latents: Batch, view: View) -> dict[str, Tensor]:
        """Compute phi's denoising loss on the renders, in the unit of its own
        prediction (ProlificDreamer, Eq. 8).

        Args:
            latents: The renders' latents, `[B, C, h, w]`, without gradient.
            view: Prompt and cameras.

        Returns:
            `loss_lora`, 0-d.

        Raises:
            ValueError: `camera_condition_type` names a matrix that the view lacks.
        """
        noise = self.noise(view, "lora", self.step)
        condition = self.phi_condition(view)
        if "class_labels" in condition:
            dropped = uniform(noise, latents) < self.cfg.camera_dropout
            condition = hidden(condition, on_device(dropped, latents.device, torch.bool))
        sigma = uniform_sigma(noise, latents, self.phi.schedule, (0.0, 1.0))
        z = latents + expand(sigma, latents) * noise(latents)
        error = (self.phi(z, sigma, condition) - latents).square()
        return {"loss_lora": (expand(self.phi.training_weight(sigma), error) * error).mean()}


def hidden(condition: Condition, rows: Tensor | None = None) -> Condition:
    """Replace the camera of a condition by zeros, in some rows or in all.

    Args:
        condition: phi's condition; one without `class_labels` is returned unchanged.
        rows: Booleans `[B]`, the rows to hide; None for all.

    Returns:
        A new condition.
    """
    if "class_labels" not in condition:
        return condition
    matrices = condition["class_labels"]
    rows = torch.ones(len(matrices), dtype=torch.bool, device=matrices.device) if rows is None else rows
    return {**condition, "class_labels": matrices.masked_fill(rows[:, None], 0.0)}
