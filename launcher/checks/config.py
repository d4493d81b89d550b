"""Checks of a whole config: keys, type names, values, folder, and agreement between blocks."""

import dataclasses
import difflib
import importlib
import math
import os
import re
import shutil
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

import torch
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from threestudio_msd.errors import UserError, did_you_mean, first_line, install
from threestudio_msd.fields import check_value, scheduled, shown

from launcher.checks.optimizer import check_optimizer, is_importable
from launcher.checks.ranges import INFINITE, KINDS, NETWORKS, RANGES
from launcher.checks.rules import check_names, joined, require_mapping, type_hints
from launcher.config import as_config, leaves, read_plain, settings_of
from launcher.host import ROOT, user_errors
from launcher.resume import check_resumed, require_trained
from launcher.saved import named_files, require_file

REFUSED = (
    *(TypeError, ValueError, ArithmeticError, LookupError, AttributeError, AssertionError),
    OmegaConfBaseException,
)
BASES = {
    "data": ("pytorch_lightning.LightningDataModule", "threestudio.utils.lightning.LightningDataModule"),
    "system": ("threestudio.systems.base.BaseSystem",),
    "material": ("threestudio.models.materials.base.BaseMaterial",),
    "background": ("threestudio.models.background.base.BaseBackground",),
    "renderer": ("threestudio.models.renderers.base.Renderer",),
    "exporter": ("threestudio.models.exporters.base.Exporter",),
    "prompt_processor": ("threestudio.models.prompt_processors.base.PromptProcessor",),
}
"""The base class of a block's type, by the block's name; importing either host imports its own."""
ELSEWHERE = (
    ": it belongs to a threestudio or an extension that is not here; name a checkout of threestudio by "
    f"THREESTUDIO_ROOT, or put the extension into {ROOT / 'custom'}"
)
LABORATORY = {"msd-truth-guidance": "msd_lab.measure.truth"}
"""Types that the laboratory registers, which is imported if a config names one."""


def check(plain: dict[str, Any], threestudio: ModuleType) -> None:
    """Checks a config that `read_plain` has read, but for its checkpoints; see `check_resumed`.

    Lightning's own settings come last, since importing Lightning takes seconds. A registered class may check
    more than its settings' dataclass: its classmethod `check_experiment(plain)` is called if it has one.

    Raises:
        UserError: A key or a value is wrong; the message has the full key.
    """
    try:
        _check_quickly(plain, threestudio)
    except UserError:
        raise
    except Exception:  # settings of Lightning and torch are not checked yet, and one may be malformed
        _check_training(plain)
        raise
    _check_training(plain)


def _check_quickly(plain: dict[str, Any], threestudio: ModuleType) -> None:
    from threestudio.utils.config import ExperimentConfig

    _require_finite(plain)
    for key in ("data_type", "system_type"):
        if not plain.get(key):
            raise UserError(f"{key}: no value is given")
    seed = plain.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise UserError(f"seed: expected an integer from 0 to 2^32 - 1, got {shown(seed)}")
    for name in ("max_steps", "accumulate_grad_batches"):  # other blocks depend on these
        value = plain["trainer"].get(name, 1) if isinstance(plain.get("trainer"), dict) else 1
        check_value(f"trainer.{name}", value, int, {})
    found = dict(check_block("", ExperimentConfig, plain, threestudio))
    _check_losses_and_loggers(plain["system"])
    _check_folder(plain)
    for key, path in named_files(plain):
        require_file(key, path)
    # a guidance's model is mostly the prompt processor's, whose key is then the one to name
    for cls in (found[key] for key in sorted(found, key=lambda key: key.endswith("guidance"))):
        if hasattr(cls, "check_experiment"):
            with user_errors():
                cls.check_experiment(plain)


def _check_training(plain: dict[str, Any]) -> None:
    from launcher.checks.trainer import check_training

    check_training(plain)
    check_optimizer(plain.get("system", {}), plain.get("trainer", {}).get("max_steps", -1))


def read_checked(path: str, overrides: list[str]) -> DictConfig:
    """Reads a config as `launcher.config.read` does, and checks it; see `read_settings`."""
    return as_config(read_settings(path, overrides))


def read_settings(path: str, overrides: list[str]) -> dict[str, Any]:
    """Reads a config as plain data, and checks it with its checkpoints as a run does.

    Raises:
        UserError: A key or a value is wrong.
    """
    import threestudio

    settings = read_plain(path, overrides, n_gpus=1)
    check(settings, threestudio)
    check_resumed(settings)
    return settings


def check_action(action: Namespace, plain: dict[str, Any], threestudio: ModuleType) -> None:
    """Checks that an experiment can do what the launcher's options ask for.

    Raises:
        UserError: There is nothing to export or to look at, or `--viewer` lacks a scene or its package.
    """
    if action.export:
        check_export(plain, threestudio)
    if action.viewer is not None:
        fields = settings_of(threestudio.find(plain["system_type"]))
        if not hasattr(fields, "renderer_type"):
            raise UserError(f"--viewer: system_type {plain['system_type']} has no scene that rays render")
        if not is_importable("viser"):
            raise UserError(f"--viewer needs viser: {install('viewer')}")
    for name in ("validate", "test", "export"):
        if getattr(action, name):
            require_trained(plain, name)


def check_export(plain: dict[str, Any], threestudio: ModuleType) -> None:
    """Raises a `UserError` if an experiment's system has nothing to export."""
    from threestudio.systems.base import BaseSystem

    name = plain["system_type"]
    if threestudio.find(name).predict_step is BaseSystem.predict_step:
        raise UserError(
            f"--export: system_type {name} has nothing to export; its results lie in save/ after --test"
        )


def check_block(
    path: str, fields: type, settings: Any, threestudio: ModuleType
) -> Iterable[tuple[str, type]]:
    """Checks settings against their dataclass, and those of the registered types that they name.

    Yields:
        The full key of every such block, and the class that its type names.
    """
    require_mapping(path, settings)
    names = {field.name: field for field in dataclasses.fields(fields) if field.init}
    blocks = [name for name in names if f"{name}_type" in names]
    check_names(path, settings, names)
    for name, value in settings.items():
        hint = KINDS.get(name, type_hints(fields)[name])
        check_value(joined(path, name), value, hint, names[name].metadata or RANGES.get(name, {}))
        own = fields.__module__.startswith("threestudio")  # other extensions may have activations of theirs
        if own and name.endswith("activation") and isinstance(value, str):
            _check_activation(joined(path, name), value)
        if name.endswith(("encoding_config", "network_config")) and isinstance(value, dict):
            for setting in NETWORKS.keys() & value:  # tinycudann checks the others
                check_value(joined(joined(path, name), setting), value[setting], *NETWORKS[setting])
    for name in blocks:
        if name in settings or f"{name}_type" in settings:
            where = joined(path, name)
            cls = _find(where, settings.get(f"{name}_type", names[f"{name}_type"].default), name, threestudio)
            yield where, cls
            _check_weights(f"{where}.weights", settings.get(name, {}))
            inner = adopted(where, cls, settings.get(name, {}))
            yield from check_block(where, settings_of(cls), inner, threestudio)
    if path:  # in threestudio, an instance of the experiment's own dataclass creates the run's folder
        _check_instance(path, fields, {name: settings[name] for name in settings if name not in blocks})


def adopted(path: str, cls: type, settings: Any) -> Any:
    """Returns settings as their class takes them: some read those of a class that they replace."""
    if not isinstance(settings, dict) or not hasattr(cls, "adopted"):
        return settings
    try:
        return cls.adopted(settings)
    except UserError as error:
        raise UserError(joined(path, str(error))) from error


def _check_activation(key: str, name: str) -> None:
    from threestudio.utils.ops import get_activation

    try:
        fits = get_activation(name)(torch.zeros(2, 1)).shape == (2, 1)
    except Exception:  # each host has its own
        fits = False
    if not fits:
        raise UserError(
            f"{key}: expected threestudio's name of an activation, or torch.nn.functional's, got {name!r}"
        )


def _check_weights(key: str, settings: Any) -> None:
    """Checks the `weights` of a module, FILE:MODULE; those of the system are FILE, see `check_resumed`."""
    weights = settings.get("weights") if isinstance(settings, dict) else None
    if isinstance(weights, str) and key != "system.weights":
        file, colon, module = weights.rpartition(":")
        if not (colon and module):
            raise UserError(f"{key}: expected CHECKPOINT:MODULE, got {shown(weights)}")
        if not os.path.isfile(file):
            raise UserError(f"{key}: no such file: {file}")


def _check_instance(path: str, fields: type, settings: dict[str, Any]) -> None:
    """Makes the dataclass, which may check its values itself."""
    from threestudio.utils.config import parse_structured

    try:
        parse_structured(fields, as_config(settings))
    except REFUSED as error:
        raise UserError(_with_key(path, error, settings)) from error


def _with_key(path: str, error: Exception, settings: dict[str, Any]) -> str:
    """Returns a dataclass's complaint with the full key; most complaints begin with the setting's name."""
    told, key = first_line(error), getattr(error, "full_key", None)
    if key:
        return f"{joined(path, key)}: {told}"
    begins = re.match(r"(\w+)[\w.]*(: )?", told)
    if begins is None or begins[1] not in settings:
        return f"{path}: {told}"
    return joined(path, told) if begins[2] else f"{joined(path, begins[1])}: {told}"


def _find(path: str, kind: Any, block: str, threestudio: ModuleType) -> type:
    """Returns the class of a block's type, which must be one of what a block of this name holds."""
    key = f"{path}_type"
    if not kind or not isinstance(kind, str):
        raise UserError(f"{key}: expected the name of a registered type, got {shown(kind)}")
    for part in kind.replace(":", ",").split(","):
        if part in LABORATORY:
            importlib.import_module(LABORATORY[part])
        if part not in threestudio.__modules__:
            advice = did_you_mean(part, _misspelt(part, threestudio.__modules__)) or ELSEWHERE
            raise UserError(f"{key}: nothing is registered as '{part}'{advice}")
    try:
        cls = threestudio.find(kind)
    except TypeError as error:  # mixins that do not mix
        raise UserError(f"{key}: '{kind}' cannot be combined: {first_line(error)}") from error
    paths = [path.rpartition(".") for path in BASES.get(block, ())]
    bases = [getattr(sys.modules[module], name) for module, _, name in paths if module in sys.modules]
    if bases and not issubclass(cls, tuple(bases)):
        raise UserError(f"{key}: '{kind}' is a {cls.__name__}, expected a {paths[0][-1]}")
    return cls


def _misspelt(name: str, registered: Iterable[str]) -> list[str]:
    """Returns the names whose words are those of `name`, each cut off or misspelt at most.

    Names of other extensions mostly share a word or two with ours, and mean something else.
    """
    words = {known: known.split("-") for known in registered}
    own = name.split("-")
    return [known for known in words if len(words[known]) == len(own) and all(map(_alike, own, words[known]))]


def _alike(word: str, known: str) -> bool:
    return known.startswith(word) or bool(difflib.get_close_matches(word, [known]))


def _check_losses_and_loggers(system: dict[str, Any]) -> None:
    losses, loggers = system.get("loss", {}), system.get("loggers", {})
    require_mapping("system.loss", losses)
    for name, value in losses.items():
        check_value(f"system.loss.{name}", value, Any, scheduled().metadata)
    require_mapping("system.loggers", loggers)
    check_names("system.loggers", loggers, ("wandb",))
    for name, logger in loggers.items():
        key = f"system.loggers.{name}"
        require_mapping(key, logger)
        check_names(key, logger, ("enable", "project", "name"))
        check_value(f"{key}.enable", logger.get("enable", False), bool, {})
        for text in ("project", "name") if logger.get("enable") else ():
            check_value(f"{key}.{text}", logger.get(text), str, {})
        if logger.get("enable") and not is_importable(name):
            raise UserError(f"{key}.enable: the package '{name}' is missing; pip install {name}")


def _require_finite(plain: dict[str, Any]) -> None:
    """Refuses NaN, and infinity but as the end of an interval."""
    for key, value in leaves(plain):
        for found in _floats(value):
            if math.isnan(found) or (math.isinf(found) and key.rpartition(".")[2] not in INFINITE):
                raise UserError(f"{key}: expected finite numbers, got {value}")


def _floats(value: Any) -> Iterator[float]:
    if isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _floats(item)
    elif isinstance(value, float):
        yield value


def _check_folder(plain: dict[str, Any]) -> None:
    """Checks that the run's folder lies below `exp_root_dir`, on a disk that can be written."""
    name, tag, given = plain.get("name", "default"), plain["tag"], plain.get("exp_root_dir", "outputs")
    root, stamp = os.path.abspath(given), plain.get("timestamp") or ""
    folder = os.path.abspath(os.path.join(root, name, tag))
    for key, text in (("name", name), ("exp_root_dir", given)):
        if not text.strip():
            raise UserError(f"{key}: expected the name of a folder, got {text!r}")
    if not tag and plain.get("use_timestamp") is False:
        raise UserError("tag: no value is given, and use_timestamp is false: give one of them")
    if re.search(r"[\x00-\x1f]", f"{root}{name}{stamp}"):
        raise UserError("name, exp_root_dir, timestamp: a path cannot hold control characters")
    if len(os.path.basename(name).encode()) > 255:
        raise UserError("name: too long for a folder's name, at most 255 bytes")
    if os.path.commonpath([root, folder]) != root or os.path.dirname(stamp):
        raise UserError(
            f"name, tag, timestamp: the run's folder {folder} would lie outside exp_root_dir {root}"
        )
    existing = folder
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    if not os.path.isdir(existing):
        raise UserError(f"exp_root_dir: {existing} is a file, where the run's folder {folder} should be")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"exp_root_dir: no permission to write into {existing}")
    if not shutil.disk_usage(existing).free:
        raise UserError(f"exp_root_dir: no space is left on the disk of {existing}")
