"""Everything that can be wrong with a config, found before any model is loaded and any folder is made."""

import dataclasses
import math
import os
import re
import shutil
from collections.abc import Iterable
from types import ModuleType
from typing import Any, get_type_hints

from omegaconf.errors import OmegaConfBaseException
from threestudio_msd.errors import UserError, did_you_mean, first_line
from threestudio_msd.fields import FieldError, check_fields, listed

from launcher.config import as_config, leaves, settings_of
from launcher.ranges import INFINITE, RANGES
from launcher.saved import check_files
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


def check(plain: dict[str, Any], threestudio: ModuleType) -> None:
    """Check keys, type names, values and files of a config that `read_plain` has read.

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
    found = dict(_check_block("", ExperimentConfig, plain, threestudio))
    _check_folder(plain)
    check_training(plain)
    check_files(plain)
    for cls in found.values():
        if hasattr(cls, "check_experiment"):
            cls.check_experiment(plain)


def _check_block(
    path: str, fields: type, settings: Any, threestudio: ModuleType
) -> Iterable[tuple[str, type]]:
    """Check settings against their dataclass, and those of the registered types that they name, at any depth.

    Yields:
        The full key of every such block, and the class that its type names.
    """
    if not isinstance(settings, dict):
        raise UserError(f"{path}: expected a mapping of settings, got {_shown(settings)}")
    names = {field.name: field for field in dataclasses.fields(fields) if field.init}
    for key in settings:
        if key not in names:
            raise UserError(
                f"{_join(path, key)}: unknown key{did_you_mean(key, names) or f'; known: {listed(names)}'}"
            )
    for name, value in settings.items():
        _check_value(path, fields, names[name], value)
    for name, field in names.items():
        type_field = names.get(f"{name}_type")
        if type_field and (name in settings or type_field.name in settings):
            where = _join(path, name)
            cls = _find(f"{where}_type", settings.get(type_field.name, type_field.default), threestudio)
            yield where, cls
            inner = settings.get(name, {} if field.default is None else None)
            inner = {} if name not in settings else inner
            yield from _check_block(where, settings_of(cls), inner, threestudio)
    if path:  # in threestudio, an instance of the experiment's own dataclass creates the run's folder
        _check_instance(path, fields, settings)


def _check_value(path: str, fields: type, field: dataclasses.Field, value: Any) -> None:
    """Check a value against its annotation and range: the dataclass's own, else what its name usually means."""
    hint = get_type_hints(fields)[field.name]
    metadata = field.metadata or RANGES.get(field.name, {})
    rule = dataclasses.field(default=None, metadata=metadata)
    checked = dataclasses.make_dataclass("Settings", [(field.name, hint, rule)])
    try:
        check_fields(checked, {field.name: value})
    except FieldError as error:
        raise UserError(_join(path, str(error))) from error


def _check_instance(path: str, fields: type, settings: dict[str, Any]) -> None:
    """Let the dataclass itself look at its values, as it will be given them."""
    from threestudio.utils.config import parse_structured

    try:
        parse_structured(fields, as_config(settings))
    except UserError as error:
        raise UserError(_join(path, str(error))) from error
    except REFUSED as error:
        key = getattr(error, "full_key", None)
        raise UserError(f"{_join(path, key) if key else path}: {first_line(error)}") from error


def _find(key: str, name: Any, threestudio: ModuleType) -> type:
    if not name or not isinstance(name, str):
        raise UserError(f"{key}: expected the name of a registered type, got {_shown(name)}")
    for part in name.replace(":", ",").split(","):
        if part not in threestudio.__modules__:
            near = did_you_mean(part, threestudio.__modules__)
            known = "" if near else f"; registered: {listed(sorted(threestudio.__modules__))}"
            raise UserError(f"{key}: nothing is registered as '{part}'{near}{known}")
    try:
        return threestudio.find(name)
    except TypeError as error:  # mixins that do not mix
        raise UserError(f"{key}: '{name}' cannot be combined: {first_line(error)}") from error


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
        raise UserError(f"seed: expected an integer from 0 to 2^32 - 1, got {_shown(seed)}")


def _check_folder(plain: dict[str, Any]) -> None:
    """The run's folder must lie below `exp_root_dir`, on a disk that can be written."""
    root = os.path.abspath(plain.get("exp_root_dir", "outputs"))
    name, tag = plain.get("name", "default"), plain["tag"]
    folder = os.path.abspath(os.path.join(root, name, tag))
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


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _shown(value: Any) -> str:
    """A value as a config writes it."""
    return {"None": "null", "True": "true", "False": "false"}.get(repr(value), repr(value))
