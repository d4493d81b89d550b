"""What threestudio's own configs and systems expect of a guidance module, beside its loss.

`adopt` reads the settings of the module that one of ours replaces; `SystemCalls` answers what a system asks
of its guidance. Every rule stands in a table here, none in the modules themselves.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import threestudio
import torch
import torch.nn.functional as F
from jaxtyping import Float
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from ..checks import check_system
from ..distillation import SAMPLERS, SCHEDULES, Estimate
from ..errors import UserError, did_you_mean
from ..fields import FieldError, listed
from ..priors.folder import check_model

HONOURED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "half_precision_weights": ("dtype", lambda half: "auto" if half else "float32"),
    "use_img_loss": ("loss_space", lambda images: "image" if images else "latent"),
}
"""Keys of threestudio's guidance modules that mean one of ours, and its value; same names need no entry."""

# fmt: off
MEANINGLESS = frozenset(
    [
        # of another model or its condition
        "bg_color", "cache_dir", "camera_condition_type", "canny_lower_bound", "canny_upper_bound",
        "cond_azimuth_deg", "cond_camera_distance", "cond_elevation_deg", "cond_image_path",
        "condition_scale", "control_scale", "control_type", "controlnet_model_name_or_path",
        "ddim_scheduler_name_or_path", "fixed_size", "ip2p_name_or_path", "lora_model_name_or_path",
        "preprocessor", "pretrained_config", "pretrained_model_name_or_path_lora", "vram_O",
        # of another method
        "diffusion_steps", "enable_memory_efficient_attention", "enable_sdi", "guidance_scale_lora",
        "guidance_type", "inversion_eta", "inversion_guidance_scale", "inversion_n_steps",
        "lora_cfg_training", "lora_n_timestamp_samples", "max_step_percent", "min_step_percent",
        "n_ddim_steps", "n_rgb_multistep_orig_steps", "return_rgb_1step_orig",
        "return_rgb_multistep_orig", "sqrt_anneal", "t_anneal", "token_merging", "token_merging_params",
        "use_sds", "use_sjc", "var_red", "vsd_camera_condition_type", "vsd_guidance_scale_phi",
        "vsd_lora_cfg_training", "vsd_lora_n_timestamp_samples", "vsd_phi_model_name_or_path",
        "vsd_use_camera_condition", "vsd_use_lora", "weights", "weighting_strategy",
    ]
)
# fmt: on
"""Keys of threestudio's guidance modules that mean nothing to one of ours that has no field of the name."""

PARTS = {"sampler": SAMPLERS, "bandwidth": SCHEDULES}
"""Blocks whose `type` says what other keys they have."""

TIME_RANGE = {"min_step_percent": 0.02, "max_step_percent": 0.98}
"""What image-condition-dreamfusion-system reads from every guidance's settings."""

SYSTEMS_LOSS = "loss_sds"
"""What the image-conditioned systems read, whatever the guidance is, and weigh by `lambda_sds`."""

PROMPT = (
    "append system.prompt_processor_type=stable-diffusion-prompt-processor "
    "'system.prompt_processor.prompt=...' system.prompt_processor.pretrained_model_name_or_path=..."
)


def adopt(cls: type, settings: Any) -> tuple[dict[str, Any], list[str]]:
    """Settings meant for `cls`, or for the guidance module that it replaces, as settings of `cls`.

    Args:
        cls: One of this package's guidance modules.
        settings: A mapping or a config node.

    Returns:
        Settings that `cls.Config` has fields for, and the full keys that were left out: those of another
        module, or, within a block, of another `type`.

    Raises:
        FieldError: For a key that no guidance module has; the message begins with it.

    Example:
        >>> import threestudio, threestudio_msd
        >>> adopt(threestudio.find("msd-guidance"), {"half_precision_weights": False, "use_sjc": True})
        ({'dtype': 'float32'}, ['use_sjc'])
    """
    given = plain(settings)
    known, adopted, left_out = field_names(cls), {}, []
    for key, value in given.items():
        if key in known:
            adopted[key] = value
        elif key in HONOURED and HONOURED[key][0] in known:
            name, translate = HONOURED[key]
            adopted.setdefault(name, given.get(name, translate(value)))
        elif key in MEANINGLESS or key in HONOURED or key in others_keys():
            left_out.append(key)
        else:
            hint = did_you_mean(key, [*known, *HONOURED]) or f"; known: {listed(sorted(known))}"
            raise FieldError(f"{key}: unknown key{hint}")
    for block, kinds in PARTS.items():
        if block in adopted:
            adopted[block], dropped = own_keys(kinds, adopted[block])
            left_out += [f"{block}.{key}" for key in dropped]
    return adopted, left_out


def own_keys(kinds: Mapping[str, type], spec: Any) -> tuple[Any, list[str]]:
    """A part's block without the keys that belong to a part of another type, and those keys.

    An override of `type` leaves them behind. Misspelt keys stay, and are refused later.
    """
    kind = kinds.get(str(spec.get("type"))) if isinstance(spec, Mapping) else None
    if kind is None:
        return spec, []
    others = set().union(*map(dataclass_names, kinds.values())) - dataclass_names(kind)
    dropped = [key for key in spec if key in others]
    return {key: value for key, value in spec.items() if key not in dropped}, dropped


def plain(settings: Any) -> dict[str, Any]:
    """A config node as plain data; threestudio hands out lists that are not lists."""
    return dict(OmegaConf.to_container(settings) if OmegaConf.is_config(settings) else settings or {})


def field_names(cls: type) -> set[str]:
    """The settings that a registered class has."""
    return dataclass_names(getattr(cls, "Config", object))


def dataclass_names(settings: type) -> set[str]:
    """The names of a dataclass's fields; none of another class."""
    return {name for name, field in getattr(settings, "__dataclass_fields__", {}).items() if field.init}


def others_keys() -> set[str]:
    """The settings of every guidance module that is registered, threestudio's, ours and other extensions'."""
    modules = [cls for name, cls in threestudio.__modules__.items() if name.endswith("guidance")]
    return set().union(*map(field_names, modules))


def without_autocast(call: Callable) -> Callable:
    """A method in the precision that `dtype` asks for, whatever the trainer's, as in threestudio's own."""

    @functools.wraps(call)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        with torch.autocast(torch.device(self.device).type, enabled=False):
            return call(self, *args, **kwargs)

    return guarded


class GuidanceOutput(dict):
    """What a guidance returns, and what is not among its keys, as systems log those, but can be asked for.

    `loss_sds` gives the method's own loss.

    Args:
        values: By key.
        further: What computes the rest, by key.
    """

    def __init__(self, values: Mapping[str, Any], further: Mapping[str, Callable[[], Any]]) -> None:
        super().__init__(values)
        self._further = further

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or key in self._further

    def __missing__(self, key: str) -> Any:
        losses = [name for name in self if name.startswith("loss_")]
        if key in self._further:
            return self._further[key]()
        if key != SYSTEMS_LOSS or not losses:
            raise KeyError(key)
        return self[losses[0]]


class SystemCalls:
    """What systems ask of their guidance beside a loss; mixed into `LatentGuidance`."""

    def __init__(self, cfg: dict | DictConfig | None = None, *args: Any, **kwargs: Any) -> None:
        system = cfg._get_parent() if isinstance(cfg, DictConfig) else None
        self._prompt: tuple[str, Any] | None = None
        if isinstance(system, DictConfig) and "guidance_type" in system:
            check_system(type(self), system, str(cfg._key()))
            self._prompt = system.get("prompt_processor_type"), system.get("prompt_processor") or {}
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
        # systems and steps read it, and a DictConfig takes long to be read
        self.cfg = SimpleNamespace(**TIME_RANGE | {key: self.cfg[key] for key in self.cfg})

    def prompted(self, prompt_utils: Any) -> Any:
        """What a system gives as its prompt; where it gives none, what its config says, made once.

        The systems around zero123 and magic123's `guidance_3d` are for guidance that knows an image.

        Raises:
            UserError: The config has no prompt either.
        """
        if hasattr(prompt_utils, "get_text_embeddings"):
            return prompt_utils
        if self._prompt_utils is None:
            kind, settings = self._prompt or ("", {})
            if not (kind and settings.get("prompt")):
                raise UserError(
                    f"system.prompt_processor.prompt: this system calls its guidance with images alone, and "
                    f"these modules need a prompt; {PROMPT}"
                )
            self._prompt_utils = threestudio.find(kind)(settings)()
        return self._prompt_utils

    @classmethod
    def adopted(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings as this module takes them; see `adopt`."""
        return adopt(cls, settings)[0]

    @classmethod
    def check_experiment(cls, experiment: Mapping[str, Any]) -> None:
        """Check what concerns more than this module's own settings; the launcher calls it.

        Raises:
            UserError: See `check_system` and `priors.folder.check_model`.
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

    def set_min_max_steps(self, min_step_percent: float = 0.02, max_step_percent: float = 0.98) -> None:
        """Nothing: a scheduled range of times is followed by `update_step`, with the same numbers."""

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Nothing where there are no parameters of its own: the pretrained model is frozen as it is."""
        further = getattr(super(), "requires_grad_", None)
        return further(requires_grad) if further else self

    @without_autocast
    @torch.no_grad()
    def decode_latents(
        self,
        latents: Float[Tensor, "B C H W"],
        latent_height: int | None = None,
        latent_width: int | None = None,
    ) -> Float[Tensor, "B 3 h w"]:
        """Images of latents of any size, for latentnerf and sjc systems.

        Args:
            latents: Scaled, `[B, C, h, w]`.
            latent_height: What they are resized to before; the model's own where none is given.
            latent_width: Likewise.

        Returns:
            `[B, 3, H, W]` in [0, 1].
        """
        _, height, width = self.model.latent_shape
        size = (latent_height or height, latent_width or width)
        return self.model.decode(fitted(latents.float(), size))

    def resized(self, latents: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C h w"]:
        """Latents at the size that the model was made for: at another it costs, and works, differently.

        Raises:
            UserError: If they have another number of channels than the model's.
        """
        channels, *size = self.model.latent_shape
        if latents.shape[1] != channels:
            raise UserError(
                f"rgb_as_latents: expected {channels} channels, as "
                f"{self.cfg.pretrained_model_name_or_path} has, got {latents.shape[1]}"
            )
        return fitted(latents, tuple(size))

    def shown(self, estimate: Estimate, size: tuple[int, int]) -> dict[str, Tensor]:
        """What sdi-system shows at validation, of the first sample: noisy state, noise and target."""
        noisy = estimate.target if estimate.noisy is None else estimate.noisy
        sigma = estimate.sigma.reshape(-1, *[1] * (noisy.ndim - 1))
        states = {
            "target": estimate.target,
            "noisy_img": noisy / (1 + sigma**2).sqrt(),
            "noise_img": (noisy - estimate.target) / sigma.clamp(min=torch.finfo(noisy.dtype).tiny),
        }
        decoded = {name: self.model.decode(state[:1]) for name, state in states.items()}
        return {name: fitted(images, size)[0].permute(1, 2, 0) for name, images in decoded.items()}


def fitted(images: Float[Tensor, "B C H W"], size: tuple[int, int]) -> Float[Tensor, "B C h w"]:
    """Images `[B, C, H, W]` at another size, bilinearly, as threestudio resizes."""
    same = images.shape[-2:] == size
    return images if same else F.interpolate(images, size, mode="bilinear", align_corners=False)
