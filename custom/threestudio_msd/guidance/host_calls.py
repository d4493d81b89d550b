"""How threestudio's systems call a guidance module: for a loss, a preview, an edit, or
images of latents.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import threestudio
import torch
import torch.nn.functional as F
from jaxtyping import Float
from omegaconf import DictConfig
from threestudio.models.prompt_processors.base import PromptProcessorOutput
from threestudio.utils.config import C_max
from torch import Tensor

from ..checks import check_system
from ..distillation import Estimate, rms
from ..distillation.protocols import PerSample
from ..errors import UserError
from ..fields import FieldError
from ..priors.folder import check_model
from .keys import adopt
from .view import Index, Layers, Renders, View

TIME_RANGE = {"min_step_percent": 0.02, "max_step_percent": 0.98}
"""Settings that image-condition-dreamfusion-system reads from every guidance."""

SDS_SCALE = 20  # the least of SDS's guidance scales in threestudio's configs, which are up to 100

Mixed: Any = object
"""Stands for the guidance and host class that the calls are mixed with."""

PROMPT = (
    "append system.prompt_processor_type=stable-diffusion-prompt-processor "
    "'system.prompt_processor.prompt=...' system.prompt_processor.pretrained_model_name_or_path=..."
)


class GuidanceOutput(dict):
    """A dict with further values that are computed on demand: `in` and `[]` know their
    keys, iteration and `len` do not.

    Systems log every key that iteration shows; the further ones are for systems that
    ask by name.

    Args:
        values: The logged values by key.
        extra: Functions that compute the further values, by key. `[]` raises KeyError
            for a key of neither.
    """

    def __init__(self, values: Mapping[str, Any], extra: Mapping[str, Callable[[], Any]]) -> None:
        super().__init__(values)
        self._extra = extra

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or key in self._extra

    def __missing__(self, key: str) -> Any:
        return self._extra[key]()


def without_autocast(call: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a method so that it runs without autocast: the module's `dtype` sets the
    precision, not the trainer's.
    """

    @functools.wraps(call)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        with torch.autocast(torch.device(self.device).type, enabled=False):
            return call(self, *args, **kwargs)

    return guarded


class HostCalls(Mixed):
    """Base of `LatentGuidance`: the calls that threestudio's systems make of a guidance
    module.

    Args:
        cfg: The module's settings; keys of another guidance module are left out with a
            warning.
        *args: Passed to threestudio's base class.
        **kwargs: Passed to threestudio's base class.

    Raises:
        FieldError: A key belongs to no guidance module, or a value does not fit.
        UserError: The system around the module does not suit it (`check_system`).
    """

    cfg: Any
    calls: int
    called_at: int

    def __init__(self, cfg: dict | DictConfig | None = None, *args: Any, **kwargs: Any) -> None:
        system = cfg._get_parent() if isinstance(cfg, DictConfig) else None
        self._prompt: tuple[Any, Any] = None, None
        if isinstance(cfg, DictConfig) and isinstance(system, DictConfig) and "guidance_type" in system:
            check_system(type(self), system, str(cfg._key()))
            self._prompt = system.get("prompt_processor_type"), system.get("prompt_processor")
        try:
            settings, left_out = adopt(type(self), cfg)
        except FieldError as error:
            raise FieldError(f"system.guidance.{error}") from error
        if left_out:
            threestudio.warn(
                f"system.guidance: {', '.join(left_out)} belong to another guidance or type: left out"
            )
        super().__init__(settings, *args, **kwargs)
        self._prompt_utils: Any = None
        # a namespace, as systems and steps read it often, and reading a DictConfig is slow
        self.cfg = SimpleNamespace(**TIME_RANGE | {key: self.cfg[key] for key in self.cfg})
        for line in (*self.unused_prompts(self._prompt[1] or {}), *self.scale_advice(settings)):
            threestudio.warn(line)

    def unused_prompts(self, prompts: Mapping[str, Any]) -> Iterator[str]:
        """Yield a warning for each setting of the prompt processor that has no effect
        with this module's settings.

        Args:
            prompts: The settings of the prompt processor.
        """
        if prompts.get("use_perp_neg") and not self.cfg.view_dependent_prompting:
            yield (
                "system.prompt_processor.use_perp_neg has no effect without "
                "system.guidance.view_dependent_prompting"
            )
        if prompts.get("negative_prompt") and self.cfg.guidance_scale == 1 and self.name != "csd":
            yield (
                "system.prompt_processor.negative_prompt has no effect at system.guidance.guidance_scale 1, "
                "which asks for the prompt alone"
            )

    @classmethod
    def scale_advice(cls, settings: Mapping[str, Any]) -> Iterator[str]:
        """Yield a warning if the guidance scale is one of SDS's, 20 or more, and this
        method's own is not; CSD has no scale.

        Args:
            settings: Fields of `Config`.
        """
        own = cls.Config.guidance_scale or cls.source_scale + 1
        given = settings.get("guidance_scale") or own
        if C_max(given) >= SDS_SCALE > own and cls.name != "csd":
            yield (
                f"system.guidance.guidance_scale: {given} is a scale for SDS; "
                f"this method's default is set by system.guidance.guidance_scale={own:g}"
            )

    @classmethod
    def adopted(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Translate settings of this module, or of the one that it replaces, into
        fields of its `Config`; unused keys are left out.

        Raises:
            FieldError: A key belongs to no guidance module.
        """
        return adopt(cls, settings)[0]

    @classmethod
    def check_experiment(cls, experiment: Mapping[str, Any]) -> None:
        """Check the settings around the module's own, and the pretrained model without
        loading it; the launcher calls this.

        Args:
            experiment: The whole config.

        Raises:
            UserError: The system does not suit the module: a loss without weight,
                parameters without optimiser, samples asked for.
            FieldError: A key belongs to no guidance module, or the model's family does
                not take an option.
            PriorError: The model's name is no hub id, or its folder lacks a file.
        """
        system = experiment.get("system", {})
        check_system(cls, system)
        default = cls.Config.pretrained_model_name_or_path
        for block in [key.removesuffix("_type") for key in system if key.endswith("guidance_type")]:
            if system[f"{block}_type"] and threestudio.find(system[f"{block}_type"]) is cls:
                settings = adopt(cls, system.get(block))[0]
                model = settings.get("pretrained_model_name_or_path", default)
                options = settings.get("model_options")
                check_model(f"system.{block}", model, settings.get("revision"), options=options)

    @without_autocast
    def __call__(
        self,
        rgb: Renders,
        prompt_utils: PromptProcessorOutput | Tensor | None = None,
        edit_prompt: PromptProcessorOutput | None = None,
        *,
        rgb_as_latents: bool = False,
        guidance_eval: bool = False,
        test_info: bool = False,
        **batch: Any,
    ) -> dict[str, Any]:
        """Turn renders into a loss.

        Args:
            rgb: Renders in [0, 1], `[B, H, W, 3]`; or scaled latents, `[B, H, W, C]`,
                with `rgb_as_latents`.
            prompt_utils: A threestudio prompt processor's output. Anything else, as
                around zero123, is replaced by the config's prompt.
            edit_prompt: The prompt of the editing systems: `edit` is called instead,
                and returns `edit_images`.
            rgb_as_latents: Whether `rgb` holds latents.
            guidance_eval: Whether to add `eval`, the images that threestudio's
                `guidance_evaluation_save` plots.
            test_info: Whether to preview the step only, as sdi-system asks at
                validation; see `preview`.
            **batch: The rest of the batch; see `View.of`, and `fit_rays` where it
                holds `rays`.

        Returns:
            `loss_NAME`, `grad_norm` (root mean square over a sample's dimensions, mean
            over the batch), `nfe` (rows the networks evaluated so far, per sample,
            every guidance branch counted), and the method's own values.

        Raises:
            NonFiniteError: The latents or the gradient hold NaN or Inf.
            UserError: Neither the system nor its config gives a prompt.
        """
        if "rays" in batch:
            return self.fit_rays(batch["layers"], batch["index"], batch["rays"], batch["rays_per_view"])
        if edit_prompt is not None:
            return self.edit(rgb.float(), edit_prompt)
        rgb, view = rgb.float(), View.of(self.prompted(prompt_utils), rgb, batch)
        if test_info:
            return self.preview(self.encode(rgb, rgb_as_latents).detach(), view, rgb.shape[1:3])
        self.warn_if_not_restored()
        self.calls, self.called_at = (self.calls + 1 if self.called_at == self.step else 0), self.step
        with self.counted(len(rgb)):
            losses, estimate = self.distil(rgb, view, rgb_as_latents)
        loss = losses[f"loss_{self.name}"]
        output = GuidanceOutput(
            {**losses, "nfe": self.nfe, **self.report(estimate)},
            {
                "loss_sds": lambda: loss,  # image-conditioned systems read it, whatever the guidance
                "timesteps": lambda: self.timesteps(estimate.sigma.expand(len(rgb))),
                "rgb": lambda: rgb.detach(),
            },
        )
        if guidance_eval:
            output["eval"] = self.evaluation(estimate)
        return output

    @without_autocast
    @torch.no_grad()
    def begin_round(
        self, number: int, chunks: Iterable[tuple[Renders, Mapping[str, Any]]], prompt_utils: Any
    ) -> None:
        """Estimate the targets of a round's views, once; no-op in the round that is held.

        Args:
            number: Of the round.
            chunks: Renders `[B, H, W, 3]` and their batches, whose `index` numbers the
                views.
            prompt_utils: A threestudio prompt processor's output.

        Raises:
            NonFiniteError: A gradient or a decoded target holds NaN or Inf.
        """
        if number == self.round.number:
            return
        self.warn_if_not_restored()
        self.round.begin(number)
        for rgb, batch in chunks:
            view = View.of(self.prompted(prompt_utils), rgb, batch)
            with self.counted(len(rgb)):
                estimate = self.stateless(self.encode(rgb.float()), view)
            values = {**self.report(estimate), "grad_norm": rms(estimate.gradient).mean()}
            decoded = self.target_images(estimate.target, replace(view, index=None))
            images = resized(decoded, rgb.shape[1:3]).permute(0, 2, 3, 1)
            self.round.put(batch["index"].tolist(), images, values)

    def fit_rays(self, layers: Layers, index: Index, rays: Tensor, rays_per_view: float) -> dict[str, Any]:
        """Compare rays of many views with the targets of the round; no network is
        evaluated.

        Args:
            layers: Foreground and opacity of N rays, `[N, 1, 1, C]`.
            index: Of the views, `[B]`.
            rays: Each ray's place in the views' pixels, `[N]`: (view H + row) W +
                column.
            rays_per_view: How many rays of a view these stand for.

        Returns:
            `loss_NAME`, half the squared distance a view, as in `distil`; `nfe`, and
            the values of the round's estimates.
        """
        targets, backgrounds = self.round.targets(index.tolist())
        colours = targets.flatten(0, 2)[rays]
        behind = backgrounds[rays // targets[0, ..., 0].numel()]
        foreground, opacity = (layer[:, 0, 0] for layer in layers)
        distance = (foreground + (1 - opacity) * behind - colours).square().sum(-1)
        loss = 0.5 * rays_per_view * distance.mean()
        return {f"loss_{self.name}": loss, "nfe": self.nfe, **self.round.values}

    def prompted(self, prompt_utils: Any) -> Any:
        """Return the system's prompt; if it gives none, the one made of the config's
        prompt processor, once.

        The systems around zero123 and magic123's `guidance_3d` give none: they are made
        for guidance that knows an image.

        Args:
            prompt_utils: A prompt processor's output, or anything else for none.

        Raises:
            UserError: The config has no prompt either.
        """
        if hasattr(prompt_utils, "get_text_embeddings"):
            return prompt_utils
        if self._prompt_utils is None:
            kind, settings = self._prompt
            if not (kind and settings and settings.get("prompt")):
                raise UserError(
                    "system.prompt_processor.prompt: this system calls its guidance with images alone, and "
                    f"these modules need a prompt; {PROMPT}"
                )
            self._prompt_utils = threestudio.find(kind)(settings)()
        return self._prompt_utils

    @contextmanager
    def counted(self, batch: int) -> Iterator[None]:
        """Add the network evaluations made inside a `with` block to `nfe`, divided by
        the batch size.
        """
        before = self.evaluations
        yield
        self.nfe += (self.evaluations - before) / batch

    @torch.no_grad()
    def edit(self, rgb: Renders, prompt_utils: PromptProcessorOutput) -> dict[str, Tensor]:
        """Edit renders towards the prompt, for instructnerf2nerf- and
        control4d-systems.

        Args:
            rgb: Renders in [0, 1], `[B, H, W, 3]`.
            prompt_utils: The prompt processor's output.

        Returns:
            `edit_images`, the decoded target, `[B, H, W, 3]` in [0, 1].
        """
        view = View.front(prompt_utils, rgb, view_dependent=False)
        with self.counted(len(rgb)):
            target = self.stateless(self.encode(rgb), view).target
        images = resized(self.model.decode(target), rgb.shape[1:3])
        return {"edit_images": images.permute(0, 2, 3, 1)}

    @torch.no_grad()
    def preview(self, latents: Tensor, view: View, size: Sequence[int]) -> dict[str, Tensor]:
        """Show what an estimate would look like; state and NFE are unchanged.

        Args:
            latents: The renders' latents, `[B, C, h, w]`.
            view: Prompt and cameras.
            size: Height and width of the images, in pixels.

        Returns:
            `noisy_img` (the network's input), `noise_img` (its noise) and `target`,
            decoded, of the first sample, `[H, W, 3]`, as sdi-system shows them.
        """
        estimate = self.stateless(latents, replace(view, index=None))
        noisy = estimate.target if estimate.noisy is None else estimate.noisy
        sigma = estimate.sigma.reshape(-1, *[1] * (noisy.ndim - 1))
        states = {
            "target": estimate.target,
            "noisy_img": noisy / (1 + sigma**2).sqrt(),
            "noise_img": (noisy - estimate.target) / sigma.clamp(min=torch.finfo(noisy.dtype).tiny),
        }
        decoded = {name: self.model.decode(state[:1]) for name, state in states.items()}
        return {name: resized(images, size)[0].permute(1, 2, 0) for name, images in decoded.items()}

    def stateless(self, latents: Tensor, view: View) -> Estimate:
        """Estimate the gradient at this step without reading or writing any state.

        Args:
            latents: The renders' latents, `[B, C, h, w]`.
            view: Prompt and cameras.
        """
        return self.estimate_anew(latents, self.prior(view), view)

    def evaluation(self, estimate: Estimate) -> dict[str, Any]:
        """Decode the images that threestudio's `guidance_evaluation_save` plots.

        Args:
            estimate: The step's estimate, of B samples.

        Returns:
            `bs`, the number n of samples shown, at most `max_items_eval`; `imgs_noisy`
            (the network's input), `imgs_1step` and `imgs_final` (its output) and
            `imgs_1orig` (the target), `[n, H, W, 3]`; and `texts`, their noise levels.
        """
        most, denoised = self.cfg.max_items_eval, estimate.denoised
        count = len(estimate.target) if most < 0 else min(len(estimate.target), most)

        def decode(latents: Tensor) -> Tensor:
            return self.model.decode(latents[:count]).permute(0, 2, 3, 1)

        denoised = estimate.target if denoised is None else denoised
        noisy = denoised if estimate.noisy is None else estimate.noisy
        return {
            "bs": count,
            "imgs_noisy": decode(noisy / (1 + estimate.sigma.reshape(-1, 1, 1, 1) ** 2).sqrt()),
            "imgs_1step": decode(denoised),
            "imgs_1orig": decode(estimate.target),
            "imgs_final": decode(denoised),
            "texts": [f"sigma {float(s):.3f}" for s in estimate.sigma.expand(len(denoised))[:count]],
        }

    def timesteps(self, sigma: PerSample) -> PerSample:
        """Convert noise levels to the model's training timesteps, rounded, `[B]` to
        `[B]`.
        """
        schedule: Any = self.model.denoiser.schedule
        return (schedule.time(sigma) * len(schedule)).round().clamp(max=len(schedule) - 1)

    def set_min_max_steps(self, min_step_percent: float = 0.02, max_step_percent: float = 0.98) -> None:
        """Do nothing: some systems call this, but `min_step_percent` and
        `max_step_percent` are evaluated at every step.
        """

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Set whether the module's own parameters require gradients; do nothing for a
        module without any.

        The pretrained model stays frozen.

        Returns:
            The module.
        """
        inherited = getattr(super(), "requires_grad_", None)
        return inherited(requires_grad) if inherited else self

    @without_autocast
    @torch.no_grad()
    def decode_latents(
        self,
        latents: Float[Tensor, "B C H W"],
        latent_height: int | None = None,
        latent_width: int | None = None,
    ) -> Float[Tensor, "B 3 h w"]:
        """Decode latents of any size, for latentnerf and sjc systems.

        Args:
            latents: Scaled latents, `[B, C, h, w]`.
            latent_height: Height that they are resized to before decoding; None for the
                model's own.
            latent_width: Width, likewise.

        Returns:
            Images in [0, 1], `[B, 3, H, W]`.
        """
        _, height, width = self.model.latent_shape
        size = (latent_height or height, latent_width or width)
        return self.model.decode(resized(latents.float(), size))


def resized(images: Float[Tensor, "B C H W"], size: Sequence[int]) -> Float[Tensor, "B C h w"]:
    """Resize images `[B, C, H, W]` bilinearly to a size (height, width), as threestudio
    does: `[B, C, height, width]`.

    Images that shrink are antialiased.
    """
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    shrinks = images.shape[-2] > size[0] or images.shape[-1] > size[1]
    return F.interpolate(images, tuple(size), mode="bilinear", align_corners=False, antialias=shrinks)
