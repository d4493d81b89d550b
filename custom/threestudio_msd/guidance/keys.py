"""threestudio's keys for a guidance module, read as settings of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import threestudio
from omegaconf import OmegaConf

from ..distillation import SAMPLERS, SCHEDULES
from ..errors import did_you_mean
from ..fields import FieldError, listed
from ..settings import once

HONOURED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "half_precision_weights": ("dtype", lambda half: "auto" if half else "float32"),
    "use_img_loss": ("loss_space", lambda images: "image" if images else "latent"),
}
"""threestudio's key -> our key and value converter; keys of the same name need no
entry.
"""

# fmt: off
MEANINGLESS = frozenset(
    [
        # another model's or its condition's
        "bg_color", "cache_dir", "camera_condition_type", "canny_lower_bound", "canny_upper_bound",
        "cond_azimuth_deg", "cond_camera_distance", "cond_elevation_deg", "cond_image_path",
        "condition_scale", "control_scale", "control_type", "controlnet_model_name_or_path",
        "ddim_scheduler_name_or_path", "fixed_size", "ip2p_name_or_path", "lora_model_name_or_path",
        "preprocessor", "pretrained_config", "pretrained_model_name_or_path_lora", "vram_O",
        # another method's
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
"""threestudio's keys that have no effect here, unless a module of ours has a field of
the name.
"""

PARTS: dict[str, Mapping[str, type]] = {"sampler": SAMPLERS, "bandwidth": SCHEDULES}
"""Blocks whose other keys depend on their `type`: the parts by type."""


def adopt(cls: type, settings: Any) -> tuple[dict[str, Any], list[str]]:
    """Translate settings meant for `cls`, or for the threestudio guidance that it
    replaces, into fields of `cls.Config`.

    Args:
        cls: One of this package's guidance modules.
        settings: A mapping or a config node.

    Returns:
        The settings that `cls.Config` has fields for; and the keys left out, which
        belong to another guidance module, or, as `sampler.KEY` or `bandwidth.KEY`, to
        another `type` of sampler or bandwidth. Equal arguments share one result: do not
        change it.

    Raises:
        FieldError: A key belongs to no guidance module; the message begins with it.

    Example:
        >>> import threestudio, threestudio_msd
        >>> adopt(threestudio.find("msd-guidance"), {"half_precision_weights": False, "use_sjc": True})
        ({'dtype': 'float32'}, ['use_sjc'])
    """
    return _adopted(cls, plain(settings))


@once
def _adopted(cls: type, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    known = field_names(getattr(cls, "Config", object))
    adopted: dict[str, Any] = {}
    left_out: list[str] = []
    for key, value in given.items():
        if key in known:
            adopted[key] = value
        elif key in HONOURED and HONOURED[key][0] in known:
            name, translate = HONOURED[key]
            adopted.setdefault(name, given.get(name, translate(value)))
        elif key in MEANINGLESS or key in HONOURED or key in _keys_of_all_modules():
            left_out.append(key)
        else:
            hint = did_you_mean(key, [*known, *HONOURED]) or f"; known: {listed(sorted(known))}"
            raise FieldError(f"{key}: unknown key{hint}")
    for block, kinds in PARTS.items():
        if block in adopted:
            adopted[block], dropped = _own_keys(kinds, adopted[block])
            left_out += [f"{block}.{key}" for key in dropped]
    return adopted, left_out


def _own_keys(kinds: Mapping[str, type], spec: Any) -> tuple[Any, list[str]]:
    """Split a part's block into its own keys and those of another type, which an
    override of `type` leaves behind. Misspelt keys stay, and are refused later.
    """
    kind = kinds.get(str(spec.get("type"))) if isinstance(spec, Mapping) else None
    if kind is None:
        return spec, []
    others = set().union(*map(field_names, kinds.values())) - field_names(kind)
    dropped = [key for key in spec if key in others]
    return {key: value for key, value in spec.items() if key not in dropped}, dropped


def plain(settings: Any) -> dict[str, Any]:
    """Copy a mapping or OmegaConf node as a dict of plain data; None becomes an empty
    dict.

    threestudio hands out OmegaConf's lists, which are no Python lists.
    """
    found: Any = OmegaConf.to_container(settings) if OmegaConf.is_config(settings) else settings
    return dict(found or {})


def field_names(settings: type) -> set[str]:
    """Return the names of a dataclass's fields that its constructor takes; the empty
    set for another class.
    """
    return {name for name, field in getattr(settings, "__dataclass_fields__", {}).items() if field.init}


def _keys_of_all_modules() -> set[str]:
    """Settings of every registered guidance module: threestudio's, ours and other
    extensions'.
    """
    modules = [cls for name, cls in threestudio.__modules__.items() if name.endswith("guidance")]
    return set().union(*(field_names(getattr(cls, "Config", object)) for cls in modules))
