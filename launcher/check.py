"""Everything that can be wrong with a config, found before any model is loaded."""

import dataclasses
import difflib
import inspect
import os
from collections.abc import Iterable
from types import ModuleType
from typing import Any, get_type_hints

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from launcher.errors import LaunchError

THREESTUDIOS_OWN = ("Adan", "FusedAdam", "Sequential")  # names that it understands beside those of torch
FILE_KEYS = ("resume", "system.weights", "system.geometry_convert_from")


def read(path: str, overrides: list[str], **derived: Any) -> DictConfig:
    """The config as the user wrote it: a YAML file with `key=value` overrides, interpolations resolved.

    Raises:
        LaunchError: The file is missing or malformed, an override is no `key=value`, a value is left open
            (`???`) or refers to a key that does not exist.
    """
    if not os.path.isfile(path):
        raise LaunchError(f"--config {path}: no such file")
    for override in overrides:
        if "=" not in override or override.startswith("-"):
            raise LaunchError(f"'{override}': expected an override of the form key=value")
    try:
        cfg = OmegaConf.merge(OmegaConf.load(path), OmegaConf.from_cli(overrides), derived)
        OmegaConf.resolve(cfg)
    except (
        OmegaConfBaseException,
        YAMLError,
        OSError,
        TypeError,
    ) as error:  # TypeError: a list in a mapping's place
        raise LaunchError(f"{path}: {one_line(error)}") from error
    open_keys = sorted(OmegaConf.missing_keys(cfg))
    if open_keys:
        raise LaunchError(f"{open_keys[0]}: no value is given; append {open_keys[0]}=...")
    return cfg


def check(cfg: DictConfig, threestudio: ModuleType) -> None:
    """Check keys, type names, values and files of a config that `read` has read.

    Raises:
        LaunchError: What is wrong, with the full key.
    """
    from pytorch_lightning import Trainer
    from pytorch_lightning.callbacks import ModelCheckpoint
    from threestudio.utils.config import ExperimentConfig

    for key in ("data_type", "system_type"):
        if not cfg.get(key):
            raise LaunchError(f"{key}: no value is given")
    _check_settings("", ExperimentConfig, cfg, threestudio)
    _check_names("trainer", cfg.get("trainer"), inspect.signature(Trainer).parameters)
    _check_names("checkpoint", cfg.get("checkpoint"), inspect.signature(ModelCheckpoint).parameters)
    for key, value in (OmegaConf.select(cfg, "system.loss") or {}).items():
        if key.startswith("lambda_"):
            _check_schedule(f"system.loss.{key}", value)
    _check_classes("system.optimizer", OmegaConf.select(cfg, "system.optimizer"), torch.optim)
    _check_classes("system.scheduler", OmegaConf.select(cfg, "system.scheduler"), torch.optim.lr_scheduler)
    for key in FILE_KEYS:
        file = OmegaConf.select(cfg, key)
        if file and "LAST" not in file and not os.path.isfile(file):
            raise LaunchError(f"{key}: no such file: {file}")
    _check_folder(cfg)


def _check_settings(path: str, fields: type, settings: DictConfig, threestudio: ModuleType) -> None:
    """Check settings against their dataclass, and those of the registered types that they name, at any depth."""
    names = [field.name for field in dataclasses.fields(fields) if field.init]
    _check_names(path, settings, names)
    defaults = {field.name: field.default for field in dataclasses.fields(fields)}
    for name in names:
        type_key = f"{name}_type"
        if type_key in names and (name in settings or type_key in settings):
            where = f"{path}.{name}" if path else name
            cls = _find(f"{where}_type", settings.get(type_key, defaults[type_key]), threestudio)
            inner = settings.get(name)
            _check_settings(
                where, _fields_of(cls), OmegaConf.create({}) if inner is None else inner, threestudio
            )
    _check_values(path, fields, settings)


def _check_values(path: str, fields: type, settings: DictConfig) -> None:
    try:
        if path:
            OmegaConf.structured(fields(**OmegaConf.to_container(settings)))
        else:  # types only: in threestudio, an instance of the experiment's own dataclass creates the run's folder
            OmegaConf.merge(OmegaConf.structured(fields), settings)
    except OmegaConfBaseException as error:
        where = f"{path}.{error.full_key}" if path else error.full_key
        raise LaunchError(f"{where}: {one_line(error)}") from error
    except (TypeError, ValueError) as error:  # the settings' own check, in __post_init__
        separator = "." if getattr(error, "begins_with_key", False) else ": "
        raise LaunchError(f"{path}{separator}{one_line(error)}") from error


def _fields_of(cls: type) -> type:
    """The dataclass of a class's settings: nested as `Config`, or, in data modules, the annotation of `cfg`."""
    fields = getattr(cls, "Config", None) or get_type_hints(cls).get("cfg")
    if not dataclasses.is_dataclass(fields):
        raise LaunchError(
            f"{cls.__module__}.{cls.__qualname__} has no dataclass of settings: add `cfg: ItsConfig`"
        )
    return fields


def _find(key: str, name: str, threestudio: ModuleType) -> type:
    for part in name.replace(":", ",").split(","):
        if part not in threestudio.__modules__:
            raise LaunchError(
                f"{key}: nothing is registered as '{part}'{_nearest(part, threestudio.__modules__)}"
            )
    return threestudio.find(name)


def _check_names(path: str, node: DictConfig | None, known: Iterable[str]) -> None:
    for key in node or ():
        if key not in known:
            where = f"{path}.{key}" if path else key
            raise LaunchError(f"{where}: unknown key{_nearest(key, known)}")


def _check_schedule(key: str, value: Any) -> None:
    from threestudio.utils.misc import C

    try:
        C(value, 0, 0)
    except (AssertionError, TypeError, ValueError) as error:  # threestudio's own C asserts
        raise LaunchError(f"{key}: not a number or [start_step, v0, v1, end_step]: {value}") from error


def _check_classes(key: str, node: DictConfig | None, module: ModuleType) -> None:
    """Check that `module` has the class `node.name`, that it takes `node.args`, and the same of nested `schedulers`."""
    name = node.get("name") if node else None
    known = [n for n in dir(module) if n[0].isupper() and isinstance(getattr(module, n), type)]
    for i, inner in enumerate(node.get("schedulers", []) if node else []):
        _check_classes(f"{key}.schedulers[{i}]", inner, module)
    if name is None or name in THREESTUDIOS_OWN:
        return
    if name not in known:
        raise LaunchError(f"{key}.name: {module.__name__} has no '{name}'{_nearest(name, known)}")
    _check_names(f"{key}.args", node.get("args"), inspect.signature(getattr(module, name)).parameters)


def _check_folder(cfg: DictConfig) -> None:
    """A prompt may be part of the tag, and the tag is part of a path: it must not lead elsewhere."""
    root = os.path.abspath(cfg.get("exp_root_dir", "outputs"))
    folder = os.path.abspath(os.path.join(root, str(cfg.get("name", "default")), str(cfg.get("tag", ""))))
    if os.path.commonpath([root, folder]) != root:
        raise LaunchError(f"name, tag: the run's folder {folder} would lie outside exp_root_dir {root}")


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def config_errors(threestudio: ModuleType) -> tuple[type[Exception], ...]:
    """What the host raises for settings that only show to be wrong when they are used."""
    import threestudio.utils.config as config

    own = (getattr(config, "ConfigError", None), getattr(threestudio, "UnknownNameError", None))
    return (OmegaConfBaseException, *filter(None, own))


def one_line(error: BaseException) -> str:
    """An error's message, up to its first line break."""
    return next(iter(str(error).splitlines()), type(error).__name__)
