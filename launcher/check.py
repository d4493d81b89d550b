"""Everything that can be wrong with a config, found before any model is loaded and any folder is made."""

import dataclasses
import importlib
import math
import os
import re
import shutil
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import torch
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from threestudio_msd.errors import UserError, did_you_mean, first_line
from threestudio_msd.fields import check_value, listed, shown

from launcher.config import as_config, leaves, read_plain, settings_of
from launcher.host import user_errors
from launcher.optimisation import check_optimisation
from launcher.ranges import INFINITE, KINDS, NETWORKS, RANGES
from launcher.resume import check_resumed
from launcher.rules import check_names, joined, require_mapping, type_hints
from launcher.training import check_training

REFUSED = (
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    AssertionError,
    OmegaConfBaseException,
)


KIND_OF = {
    "data": ("pytorch_lightning.LightningDataModule", "threestudio.utils.lightning.LightningDataModule"),
    "system": ("threestudio.systems.base.BaseSystem",),
    "material": ("threestudio.models.materials.base.BaseMaterial",),
    "background": ("threestudio.models.background.base.BaseBackground",),
    "renderer": ("threestudio.models.renderers.base.Renderer",),
    "exporter": ("threestudio.models.exporters.base.Exporter",),
    "prompt_processor": ("threestudio.models.prompt_processors.base.PromptProcessor",),
}
"""The base class of what a block of a name holds, on either host; importing the host has imported it."""

LABORATORY = {"msd-truth-guidance": "msd_lab.measure.truth"}
"""Registered by the laboratory, which is imported where a config names them."""


def check(plain: dict[str, Any], threestudio: ModuleType) -> None:
    """Check keys, type names and values of a config that `read_plain` has read; see `check_resumed` for its
    checkpoints.

    A registered class may know more than its settings' dataclass says: its classmethod
    `check_experiment(plain)` is called where it has one, and raises what is wrong.

    Raises:
        UserError: What is wrong, with the full key.
    """
    from threestudio.utils.config import ExperimentConfig

    _require_finite(plain)
    for key in ("data_type", "system_type"):
        if not plain.get(key):
            raise UserError(f"{key}: no value is given")
    _check_seed(plain.get("seed", 0))
    check_training(plain)
    found = dict(_check_block("", ExperimentConfig, plain, threestudio))
    check_optimisation(plain.get("system", {}), plain.get("trainer", {}).get("max_steps", -1))
    _check_folder(plain)
    # a guidance's model is mostly said to be the prompt processor's, whose key is then the one to name
    for cls in (found[key] for key in sorted(found, key=lambda key: key.endswith("guidance"))):
        if hasattr(cls, "check_experiment"):
            with user_errors():
                cls.check_experiment(plain)


def read_checked(path: str, overrides: list[str]) -> DictConfig:
    """A config as `launcher.config.read` gives it, checked as a run checks it.

    Raises:
        UserError: What is wrong.
    """
    import threestudio

    settings = read_plain(path, overrides)
    check(settings, threestudio)
    check_resumed(settings)
    return as_config(settings)


def check_export(plain: dict[str, Any], threestudio: ModuleType) -> None:
    """Check that an experiment's system has something to export.

    Raises:
        UserError: It has not.
    """
    from threestudio.systems.base import BaseSystem

    name = plain["system_type"]
    if threestudio.find(name).predict_step is BaseSystem.predict_step:
        raise UserError(
            f"--export: system_type {name} has nothing to export; its results lie in save/ after --test"
        )


def _check_block(
    path: str, fields: type, settings: Any, threestudio: ModuleType
) -> Iterable[tuple[str, type]]:
    """Check settings against their dataclass, and those of the registered types that they name, at any depth.

    Yields:
        The full key of every such block, and the class that its type names.
    """
    require_mapping(path, settings)
    names = {field.name: field for field in dataclasses.fields(fields) if field.init}
    blocks = [name for name in names if f"{name}_type" in names]
    check_names(path, settings, names)
    for name, value in settings.items():
        metadata = names[name].metadata or RANGES.get(name, {})
        hint = KINDS.get(name, type_hints(fields)[name])
        check_value(joined(path, name), value, hint, metadata)
        own = fields.__module__.startswith("threestudio")  # other extensions may have activations of theirs
        if own and name.endswith("activation") and isinstance(value, str):
            _check_activation(joined(path, name), value)
        if name.endswith(("encoding_config", "network_config")):
            _check_network(joined(path, name), value)
    for name in blocks:
        if name in settings or f"{name}_type" in settings:
            where = joined(path, name)
            kind = settings.get(f"{name}_type", names[f"{name}_type"].default)
            cls = _find(f"{where}_type", kind, threestudio)
            _require_kind(f"{where}_type", kind, name, cls)
            yield where, cls
            _check_weights(f"{where}.weights", settings.get(name, {}))
            inner = adopted(where, cls, settings.get(name, {}))
            yield from _check_block(where, settings_of(cls), inner, threestudio)
    if path:  # in threestudio, an instance of the experiment's own dataclass creates the run's folder
        own = {name: value for name, value in settings.items() if name not in blocks}
        _check_instance(path, fields, own)


def adopted(path: str, cls: type, settings: Any) -> Any:
    """Settings as their class takes them: some understand those of classes that they replace (`adopted`)."""
    if not isinstance(settings, dict) or not hasattr(cls, "adopted"):
        return settings
    try:
        return cls.adopted(settings)
    except UserError as error:
        raise UserError(joined(path, str(error))) from error


def _check_activation(key: str, name: str) -> None:
    """Check that a name is that of a function of one tensor."""
    from threestudio.utils.ops import get_activation

    try:
        fits = get_activation(name)(torch.zeros(2, 1)).shape == (2, 1)
    except Exception:  # each host has its own
        fits = False
    if not fits:
        raise UserError(
            f"{key}: expected threestudio's name of an activation, or torch.nn.functional's, got {name!r}"
        )


def _check_network(key: str, settings: Any) -> None:
    """Check the settings of tinycudann that are known; others are left to it."""
    for name, value in settings.items() if isinstance(settings, dict) else ():
        if name in NETWORKS:
            check_value(joined(key, name), value, *NETWORKS[name])


def _check_weights(key: str, settings: Any) -> None:
    """Check the `weights` of a module, FILE:MODULE; those of the system are FILE, see `check_resumed`."""
    weights = settings.get("weights") if isinstance(settings, dict) else None
    if isinstance(weights, str) and key != "system.weights":
        file, colon, module = weights.rpartition(":")
        if not (colon and module):
            raise UserError(f"{key}: expected CHECKPOINT:MODULE, got {shown(weights)}")
        if not os.path.isfile(file):
            raise UserError(f"{key}: no such file: {file}")


def _check_instance(path: str, fields: type, settings: dict[str, Any]) -> None:
    """Let the dataclass itself look at its values, as it will be given them."""
    from threestudio.utils.config import parse_structured

    try:
        parse_structured(fields, as_config(settings))
    except REFUSED as error:
        raise UserError(_with_key(path, error, settings)) from error


def _with_key(path: str, error: Exception, settings: dict[str, Any]) -> str:
    """What a dataclass says of its values, with the full key: most say or know the setting's name."""
    told, key = first_line(error), getattr(error, "full_key", None)
    if key:
        return f"{joined(path, key)}: {told}"
    begins = re.match(r"(\w+)[\w.]*(: )?", told)
    if begins is None or begins[1] not in settings:
        return f"{path}: {told}"
    return joined(path, told) if begins[2] else f"{joined(path, begins[1])}: {told}"


def _find(key: str, name: Any, threestudio: ModuleType) -> type:
    if not name or not isinstance(name, str):
        raise UserError(f"{key}: expected the name of a registered type, got {shown(name)}")
    for part in name.replace(":", ",").split(","):
        if part in LABORATORY:
            importlib.import_module(LABORATORY[part])
        if part not in threestudio.__modules__:
            near = did_you_mean(part, threestudio.__modules__)
            known = "" if near else f"; registered: {listed(sorted(threestudio.__modules__))}"
            raise UserError(f"{key}: nothing is registered as '{part}'{near}{known}")
    try:
        return threestudio.find(name)
    except TypeError as error:  # mixins that do not mix
        raise UserError(f"{key}: '{name}' cannot be combined: {first_line(error)}") from error


def _require_kind(key: str, kind: str, block: str, cls: type) -> None:
    """Check that a registered type is one of what a block of this name holds."""
    paths = [path.rpartition(".") for path in KIND_OF.get(block, ())]
    bases = [getattr(sys.modules[module], name) for module, _, name in paths if module in sys.modules]
    if bases and not issubclass(cls, tuple(bases)):
        raise UserError(f"{key}: '{kind}' is a {cls.__name__}, expected a {paths[0][-1]}")


def _require_finite(plain: dict[str, Any]) -> None:
    """NaN never means anything in a config, and infinity only as the end of an interval."""
    for key, value in leaves(plain):
        for number in _numbers(value):
            if math.isnan(number) or (math.isinf(number) and key.rpartition(".")[2] not in INFINITE):
                raise UserError(f"{key}: expected finite numbers, got {value}")


def _numbers(value: Any) -> list[float]:
    if isinstance(value, list):
        return [number for item in value for number in _numbers(item)]
    if isinstance(value, dict):
        return _numbers(list(value.values()))
    return [value] if isinstance(value, float) else []


def _check_seed(seed: Any) -> None:
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise UserError(f"seed: expected an integer from 0 to 2^32 - 1, got {shown(seed)}")


def _check_folder(plain: dict[str, Any]) -> None:
    """The run's folder must lie below `exp_root_dir`, on a disk that can be written."""
    root = os.path.abspath(plain.get("exp_root_dir", "outputs"))
    name, tag = plain.get("name", "default"), plain["tag"]
    folder = os.path.abspath(os.path.join(root, name, tag))
    for key, given in (("name", name), ("exp_root_dir", plain.get("exp_root_dir", "outputs"))):
        if not given.strip():
            raise UserError(f"{key}: expected the name of a folder, got {given!r}")
    if not tag and plain.get("use_timestamp") is False:
        raise UserError("tag: no value is given, and use_timestamp is false: give one of them")
    if re.search(r"[\x00-\x1f]", f"{root}{name}{plain.get('timestamp') or ''}"):
        raise UserError("name, exp_root_dir, timestamp: a path cannot hold control characters")
    if len(os.path.basename(name).encode()) > 255:
        raise UserError("name: too long for a folder's name, at most 255 bytes")
    outside = os.path.commonpath([root, folder]) != root or os.path.dirname(plain.get("timestamp") or "")
    if outside:
        raise UserError(
            f"name, tag, timestamp: the run's folder {folder} would lie outside exp_root_dir {root}"
        )
    _require_writable(folder)


def _require_writable(folder: str) -> None:
    existing = folder
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    if not os.path.isdir(existing):
        raise UserError(f"exp_root_dir: {existing} is a file, where the run's folder {folder} should be")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"exp_root_dir: no permission to write into {existing}")
    if not shutil.disk_usage(existing).free:
        raise UserError(f"exp_root_dir: no space is left on the disk of {existing}")
