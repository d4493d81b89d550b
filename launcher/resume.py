"""Runs that go on from a checkpoint: in their own folder, with the settings that it was made with."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from threestudio_msd.errors import UserError
from threestudio_msd.fields import shown

from launcher.config import as_config, leaves, settings_of, split_override
from launcher.saved import SETTINGS, named_files, read_checkpoint

PARTS = ("geometry", "material", "background", "renderer", "guidance", "prompt_processor")
LENGTH = "trainer_max_steps"  # a run may be made longer


def in_own_folder(settings: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """The settings with the folder of the run that `resume` lies in; as they are, where it lies in none.

    Raises:
        UserError: The command line names another folder.
    """
    run = _run_of(settings.get("resume"))
    if run is None:
        return settings
    own = _folder_keys(run, settings.get("name", ""))
    for key in [split_override(override)[0] for override in overrides]:
        if key in own and not _agree(key, settings[key], own[key]):
            raise UserError(
                f"{key}: a run goes on in its folder, {os.path.relpath(run)}: "
                f"expected {own[key]!r}, got {settings[key]!r}"
            )
    return {**settings, **own}


def _run_of(checkpoint: Any) -> Path | None:
    path = Path(os.path.abspath(checkpoint)) if isinstance(checkpoint, str) else Path()
    is_run = path.parent.name == "ckpts" and (path.parent.parent / "configs").is_dir()
    return path.parent.parent if is_run else None


def _folder_keys(run: Path, name: str) -> dict[str, str]:
    tag, stamp = re.fullmatch(r"(.*?)(@\d{8}-\d{6})?", run.name).groups(default="")
    parts = Path(name).parts
    depth = len(parts) if parts and run.parent.parts[-len(parts) :] == parts else 1
    root = run.parents[depth]
    return {
        "exp_root_dir": os.path.relpath(root) if root.is_relative_to(Path.cwd()) else str(root),
        "name": str(run.parent.relative_to(root)),
        "tag": tag,
        "timestamp": stamp,
    }


def _agree(key: str, given: Any, own: str) -> bool:
    if key == "exp_root_dir":
        return os.path.realpath(given) == os.path.realpath(own)
    return (given or "") == own


def require_trained(settings: Mapping[str, Any], action: str) -> None:
    """Check that there is something to look at: what an experiment begins with is not.

    Raises:
        UserError: No checkpoint is named.
    """
    system = settings.get("system", {})
    named = [settings.get("resume"), system.get("weights"), system.get("geometry_convert_from")]
    parts = [part.get("weights") for part in system.values() if isinstance(part, dict)]
    if not any([*named, *parts]):
        raise UserError(f"--{action}: no checkpoint is named; append resume=RUN/ckpts/last.ckpt")


def check_resumed(settings: Mapping[str, Any], changed: bool = False) -> dict[str, Any] | None:
    """Check that the checkpoints which a config names are there, are whole, and fit it.

    Args:
        settings: The whole config, checked on its own.
        changed: Whether to go on although prompt, guidance or another part have other settings.

    Returns:
        The checkpoint that `resume` names, on the CPU.

    Raises:
        UserError: A file is none, a setting is not the checkpoint's, or weights have other names or shapes.
    """
    resumed = None
    for key, path in named_files(settings):
        checkpoint = read_checkpoint(key, path)
        if key == "resume":
            resumed = checkpoint
            _require_same(path, checkpoint.get(SETTINGS, {}), settings, changed)
            if not changed:
                _require_same_method(path, checkpoint, settings)
        if key != "system.geometry_convert_from":
            _require_fitting(key, path, checkpoint, settings)
    return resumed


def _require_same_method(path: str, checkpoint: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Let the guidance look at its own state, which tells the method where no settings were saved."""
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


def _require_same(path: str, theirs: Mapping[str, Any], ours: Mapping[str, Any], changed: bool) -> None:
    for key, there, here in _differences(theirs, ours) if theirs else ():
        if _takes_no_effect(key, ours):
            raise UserError(
                f"{key}: a run goes on with the optimiser and scheduler of {path}: "
                f"expected {shown(there)}, got {shown(here)}"
            )
        if not changed and _is_part(key):
            raise UserError(
                f"{key}: {path} was made with {shown(there)}, not {shown(here)}; "
                "add --changed to go on all the same"
            )


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
    """Whether the checkpoint's state wins over a setting; rates are set anew if no scheduler moves them."""
    optimised = key.startswith("system.optimizer.") and settings["system"].get("scheduler") is not None
    return optimised or key.startswith("system.scheduler") or key == "system.optimizer.name"


def _require_fitting(key: str, path: str, checkpoint: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Compare the weights of the geometry with those of one made for this: it is small, models are not."""
    import threestudio

    system = settings["system"]
    fields = settings_of(threestudio.find(settings["system_type"]))
    kind = system.get("geometry_type", getattr(fields, "geometry_type", None))
    ignored = tuple(f"{name}." for name in system.get("weights_ignore_modules") or ())
    if kind and not (key == "system.weights" and "geometry.".startswith(ignored or "-")):
        geometry = threestudio.find(kind)(as_config(system.get("geometry", {})))
        shapes = {f"geometry.{name}": value for name, value in geometry.state_dict().items()}
        misfit = find_misfit(shapes, checkpoint["state_dict"])
        if misfit:
            raise UserError(f"{key}: {path} is another model's: {misfit}{_reason(checkpoint, system)}")


def _reason(checkpoint: Mapping[str, Any], system: Mapping[str, Any]) -> str:
    theirs = checkpoint.get(SETTINGS, {}).get("system", {}).get("geometry", {})
    found = _differences({"system": {"geometry": theirs}}, {"system": {"geometry": system.get("geometry")}})
    told = [f"{key} is {shown(there)} there, {shown(here)} here" for key, there, here in found]
    return f"; {', '.join(told)}" if theirs and told else ""


def find_misfit(wanted: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]) -> str | None:
    """Which of the wanted weights has no counterpart of its name and shape; None where all have one."""
    for name, tensor in wanted.items():
        if name not in found:
            return f"it has no {name}"
        if found[name].shape != tensor.shape:
            return f"{name} is {list(found[name].shape)}, expected {list(tensor.shape)}"
    return None


def require_whole_state(system: torch.nn.Module, path: str, checkpoint: Mapping[str, Any]) -> None:
    """Check the weights of everything that a system holds, before Lightning restores them from a checkpoint.

    Raises:
        UserError: A name or a shape differs; the message has the checkpoint's path.
    """
    saved, state = checkpoint["state_dict"], system.state_dict()
    unknown = next((name for name in saved if name not in state), None)
    misfit = find_misfit(state, saved) or (unknown and f"this config's has no {unknown}")
    if misfit:
        raise UserError(f"resume: {path} is another model's: {misfit}")


class ConfiguredRates(Callback):
    """Sets an optimiser's settings to the config's after a checkpoint has restored those it was saved with.

    Args:
        optimizer: The settings, `system.optimizer`.
    """

    def __init__(self, optimizer: Mapping[str, Any]) -> None:
        self._args, self._groups = optimizer.get("args", {}), optimizer.get("params") or {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Set them; a scheduler's rates are its own."""
        if trainer.lr_scheduler_configs:
            return
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group.update({**self._args, **self._groups.get(group.get("name"), {})})
