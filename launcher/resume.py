"""Checks of the checkpoints that a config names: they are whole, and fit its settings and its model."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from threestudio_msd.errors import UserError
from threestudio_msd.fields import shown

from launcher.config import as_config, leaves, settings_of
from launcher.prompts import from_library
from launcher.saved import SETTINGS, named_files, read_checkpoint

PARTS = ("geometry", "material", "background", "renderer", "guidance", "prompt_processor")
LENGTH = "trainer_max_steps"  # a run may be made longer
VIEW = {
    *("isosurface_method", "isosurface_resolution", "isosurface_threshold", "isosurface_coarse_to_fine"),
    *("isosurface_remove_outliers", "isosurface_outlier_n_faces_threshold"),
    *("num_samples_per_ray", "eval_chunk_size", "color", "eval_color", "random_aug", "random_aug_prob"),
}
"""Settings of parts that change what is shown or exported of a trained scene, and not the scene."""


def require_trained(settings: Mapping[str, Any], action: str) -> None:
    """Raises a `UserError` if no checkpoint is named: an untrained experiment has nothing to look at."""
    system = settings.get("system", {})
    named = [settings.get("resume"), system.get("weights"), system.get("geometry_convert_from")]
    if not any([*named, *(part.get("weights") for part in system.values() if isinstance(part, dict))]):
        raise UserError(f"--{action}: no checkpoint is named; append resume=RUN/ckpts/last.ckpt")


def check_resumed(
    settings: Mapping[str, Any], changed: bool = False, trains: bool = True
) -> dict[str, Any] | None:
    """Checks that the checkpoints which a config names are there, are whole, and fit it.

    Args:
        settings: The whole config, checked on its own.
        changed: Whether to go on although prompt, guidance or another part have other settings.
        trains: Whether the run is trained further; else settings that only change the view may differ.

    Returns:
        The checkpoint that `resume` names, on the CPU.

    Raises:
        UserError: A file is no checkpoint, a setting differs from the checkpoint's, or weights have other
            names or shapes.
    """
    resumed = None
    for key, path in named_files(settings):
        checkpoint = read_checkpoint(key, path)
        if key == "resume":
            resumed = checkpoint
            _require_same(path, checkpoint.get(SETTINGS, {}), settings, changed, trains)
            if not changed:
                _require_same_method(path, checkpoint, settings)
        if key != "system.geometry_convert_from":
            _require_fitting(key, path, checkpoint, settings)
    return resumed


def _require_same_method(path: str, checkpoint: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Has the guidance check its own state, which tells the method if no settings were saved."""
    import threestudio

    name, state = settings["system"].get("guidance_type"), checkpoint.get("guidance")
    guidance = threestudio.find(name) if name else None
    if isinstance(state, dict) and hasattr(guidance, "check_state"):
        try:
            guidance.check_state(state)
        except UserError as error:
            raise UserError(
                f"system.guidance_type: {path} {error}; add --changed to go on all the same"
            ) from error


def _require_same(
    path: str, theirs: Mapping[str, Any], ours: Mapping[str, Any], changed: bool, trains: bool
) -> None:
    for key, there, here in _differences(with_defaults(theirs), with_defaults(ours)) if theirs else ():
        if str(there).startswith("lib:") and from_library(there, key) == here:  # as older versions wrote it
            continue
        if trains and _takes_no_effect(key, ours):
            raise UserError(
                f"{key}: a run goes on with the optimiser and scheduler of {path}: "
                f"expected {shown(there)}, got {shown(here)}"
            )
        viewed = not trains and key.rpartition(".")[2] in VIEW
        if not changed and not viewed and _is_part(key):
            raise UserError(
                f"{key}: {path} was made with {shown(there)}, not {shown(here)}; "
                "add --changed to go on all the same"
            )


def with_defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Fills in the defaults of the system's parts, so that a key written out equals one left out."""
    import threestudio

    system = dict(settings.get("system", {}))
    for part in PARTS:
        name = system.get(f"{part}_type")
        if name in threestudio.__modules__ and isinstance(system.get(part, {}), dict):
            fields = dataclasses.fields(settings_of(threestudio.find(name)))
            defaults = {field.name: _default(field) for field in fields if field.init}
            system[part] = {**defaults, **system.get(part, {})}
    return {**settings, "system": system}


def _default(field: dataclasses.Field) -> Any:
    made = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    return list(made) if isinstance(made, tuple) else made


def _differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    there, here = dict(leaves(dict(theirs))), dict(leaves(dict(ours)))
    for key in dict.fromkeys([*here, *there]):
        if there.get(key) != here.get(key):
            yield key, there.get(key), here.get(key)


def _is_part(key: str) -> bool:
    block, _, rest = key.partition(".")
    part = rest.partition(".")[0].removesuffix("_type")
    return key == "system_type" or (block == "system" and part in PARTS and not key.endswith(LENGTH))


def _takes_no_effect(key: str, settings: Mapping[str, Any]) -> bool:
    """Returns whether the checkpoint's state wins; without a scheduler, rates are set anew."""
    optimised = key.startswith("system.optimizer.") and settings["system"].get("scheduler") is not None
    return optimised or key.startswith("system.scheduler") or key == "system.optimizer.name"


def _require_fitting(key: str, path: str, checkpoint: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Compares the geometry's weights, which is small, with a new one's before any model is loaded."""
    import threestudio

    system = settings["system"]
    fields = settings_of(threestudio.find(settings["system_type"]))
    kind = system.get("geometry_type", getattr(fields, "geometry_type", None))
    ignored = tuple(f"{name}." for name in system.get("weights_ignore_modules") or ())
    if kind and not (key == "system.weights" and "geometry.".startswith(ignored or "-")):
        state = threestudio.find(kind)(as_config(system.get("geometry", {}))).state_dict()
        misfit = find_misfit(
            {f"geometry.{name}": value for name, value in state.items()}, checkpoint["state_dict"]
        )
        if misfit:
            raise UserError(f"{key}: {path} is another model's: {misfit}{_reason(checkpoint, system)}")


def _reason(checkpoint: Mapping[str, Any], system: Mapping[str, Any]) -> str:
    theirs = checkpoint.get(SETTINGS, {}).get("system", {}).get("geometry", {})
    found = _differences({"system": {"geometry": theirs}}, {"system": {"geometry": system.get("geometry")}})
    told = [f"{key} is {shown(there)} there, {shown(here)} here" for key, there, here in found]
    return f"; {', '.join(told)}" if theirs and told else ""


def require_whole_state(system: torch.nn.Module, path: str, checkpoint: Mapping[str, Any]) -> None:
    """Checks the weights of a whole system against a checkpoint, before Lightning restores them.

    Raises:
        UserError: A name or a shape differs; the message has the checkpoint's path.
    """
    saved, state = checkpoint["state_dict"], system.state_dict()
    without = () if hasattr(system, "guidance") else ("guidance.",)  # as for a test of images
    unknown = next((name for name in saved if name not in state and not name.startswith(without)), None)
    misfit = find_misfit(state, saved) or (unknown and f"this config's has no {unknown}")
    if misfit:
        raise UserError(f"resume: {path} is another model's: {misfit}")


def find_misfit(wanted: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]) -> str | None:
    """Returns how the found weights lack one that is wanted, by name and shape; None if they have all."""
    for name, tensor in wanted.items():
        if name not in found:
            return f"it has no {name}"
        if found[name].shape != tensor.shape:
            return f"{name} is {list(found[name].shape)}, expected {list(tensor.shape)}"
    return None
