"""The way from the command line to plain settings: a YAML file, `key=value` overrides, the run's folder."""

import dataclasses
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException
from threestudio_msd.errors import UserError, first_line
from threestudio_msd.fields import shown
from threestudio_msd.priors.sources import current_id
from yaml import MarkedYAMLError, YAMLError

from launcher.checks.optimizer import drop_foreign_arguments
from launcher.checks.rules import joined, require_mapping, type_hints
from launcher.folder import folder_name, in_one_folder, in_own_folder
from launcher.prompts import from_library

KEY = re.compile(r"[A-Za-z_][\w-]*(\.[\w-]+)*")
MALFORMED = (
    OmegaConfBaseException,
    YAMLError,
    ValueError,
    TypeError,
    ArithmeticError,
    LookupError,
    RecursionError,
    AssertionError,
)
ROOT = Path(__file__).resolve().parent.parent
MOVED = {"configs/truth-nerf-tiny.yaml": "lab/msd_lab/configs/truth-nerf-tiny.yaml"}
"""Bundled configs that lie elsewhere now."""
PROMPTS = "system.prompt_processor"
MODEL = "pretrained_model_name_or_path"
BLOCKS = ("data", "system", "trainer", "checkpoint")
DERIVED = {
    "n_gpus": "the GPUs there are, see --gpu",
    "exp_dir": "exp_root_dir and name",
    "trial_name": "tag and timestamp",
    "trial_dir": "exp_root_dir, name, tag and timestamp",
}
"""What a run's own config holds beside what can be set, and where it comes from."""


def read(path: str, overrides: Iterable[str], **derived: Any) -> DictConfig:
    """Reads a config as threestudio's classes take it; see `read_plain`."""
    return as_config(read_plain(path, overrides, **derived))


def read_run(path: str, overrides: Iterable[str], n_gpus: int, resumes: bool) -> dict[str, Any]:
    """Reads the config of a run, with its folder.

    Args:
        path: The experiment's YAML file.
        overrides: `key=value` each.
        n_gpus: The GPUs there are.
        resumes: Whether a checkpoint that `resume` names is continued in its own folder.

    Raises:
        UserError: See `read_plain`; or the command line names another folder than the resumed run's.
    """
    pairs = [split_override(override) for override in overrides]
    settings = _plain(path, pairs, {"n_gpus": n_gpus})
    return in_one_folder(in_own_folder(settings, dict(pairs)) if resumes else settings)


def read_plain(path: str, overrides: Iterable[str], **derived: Any) -> dict[str, Any]:
    """Reads a config as plain data, references resolved.

    The value of an override is YAML, except where the key holds text: there it is that text, whatever YAML
    would make of it. `${...}` refers to another key, except in prompts.

    Raises:
        UserError: The file is missing or malformed, an override is no `key=value`, a value is left open
            (`???`) or refers to a key that does not exist.
    """
    return _plain(path, [split_override(override) for override in overrides], derived)


def _plain(path: str, pairs: list[tuple[str, str]], derived: dict[str, Any]) -> dict[str, Any]:
    cfg = load_yaml(path)
    # types first: they tell what the keys below them hold
    for key, value in sorted(pairs, key=lambda pair: not pair[0].endswith("_type")):
        if key in DERIVED:
            raise UserError(f"{key}: cannot be set: it follows from {DERIVED[key]}")
        cfg = _merged(cfg, key, _parsed(cfg, key, value))
    cfg = OmegaConf.merge(cfg, derived)
    written = OmegaConf.to_container(cfg, resolve=False)
    for block in BLOCKS:
        require_mapping(block, written.get(block, {}))
    _check_texts(cfg, written)
    cfg = _with_library_prompt(cfg)
    try:
        open_keys = sorted(OmegaConf.missing_keys(cfg))
        if open_keys:
            raise UserError(f"{open_keys[0]}: no value is given; append {open_keys[0]}=...")
        plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except MALFORMED as error:
        if not isinstance(error, InterpolationKeyError):  # a value that a resolver cannot compute with
            _check_referred(written.get("trainer", {}))
        key = getattr(error, "full_key", None)
        raise UserError(f"{path}: {f'{key}: ' if key else ''}{first_line(error)}") from error
    if "system.optimizer.name" in dict(pairs):
        _adapt_optimizer(plain)
    _adapt_models(plain.get("system", {}))
    return {**plain, "tag": folder_name(plain.get("tag") or "")}


def _with_library_prompt(cfg: DictConfig) -> DictConfig:
    """Replaces `lib:a_b_c` by the prompt that it stands for, so that all that shows the prompt shows that."""
    block = OmegaConf.select(cfg, PROMPTS, throw_on_resolution_failure=False)
    prompt = OmegaConf.select(block, "prompt") if isinstance(block, DictConfig) else None
    if not isinstance(prompt, str) or not prompt.startswith("lib:"):
        return cfg
    return _merged(cfg, f"{PROMPTS}.prompt", escaped(from_library(prompt)))


def _adapt_models(system: dict[str, Any]) -> None:
    """Takes models of the hub by their present ids; those of the blocks that hold the same are told once."""
    blocks = [block for block in system.values() if isinstance(block, dict)]
    models = [block.get(MODEL) for block in blocks if isinstance(block.get(MODEL), str)]
    present = {model: current_id(model) for model in dict.fromkeys(models)}
    for block in blocks:
        if block.get(MODEL) in present:
            block[MODEL] = present[block[MODEL]]


def _check_referred(trainer: dict[str, Any]) -> None:
    """Checks the block that others refer to, whose value may be what they cannot compute with."""
    from launcher.checks.trainer import check_training  # imports Lightning

    check_training({"trainer": {key: value for key, value in trainer.items() if "${" not in str(value)}})


def _adapt_optimizer(plain: dict[str, Any]) -> None:
    import threestudio

    dropped = drop_foreign_arguments(plain["system"].get("optimizer"))
    if dropped:
        name = plain["system"]["optimizer"]["name"]
        threestudio.warn(f"system.optimizer: {name} has no {', '.join(dropped)}: left out")


def current_path(path: str) -> str:
    """Returns where a bundled config lies now, with a warning if it was named by its former path."""
    moved = MOVED.get(os.path.relpath(os.path.realpath(path), ROOT)) if path else None
    if moved is None or os.path.isfile(path):
        return path
    warnings.warn(f"{path} has moved to {moved}", FutureWarning, stacklevel=2)
    return str(ROOT / moved)


def load_yaml(path: str) -> DictConfig:
    """Reads a YAML file as it stands.

    Raises:
        UserError: It is missing, no text in UTF-8, no YAML, or not a mapping; with the line if it is known.
    """
    path = current_path(path)
    if not os.path.isfile(path):
        raise UserError(f"--config {path}: {'is a folder' if os.path.isdir(path) else 'no such file'}")
    try:
        cfg = OmegaConf.create(_text(path))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise UserError(f"{path}{where}: {error.problem or error.context}") from error
    except MALFORMED as error:
        raise UserError(f"{path}: expected a YAML mapping of settings: {first_line(error)}") from error
    if not isinstance(cfg, DictConfig):
        raise UserError(f"{path}: expected a mapping of settings, found a list")
    if not cfg:
        raise UserError(f"{path}: the file is empty")
    return cfg


def _text(path: str) -> str:
    try:
        data = Path(path).read_bytes()
        return data.decode("utf-8-sig")  # some editors begin a file with a mark
    except OSError as error:
        raise UserError(f"--config {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: expected text in UTF-8, found other bytes") from error


def split_override(override: str) -> tuple[str, str]:
    """Splits `key=value`.

    Raises:
        UserError: It is no such pair.
    """
    key, equals, value = override.partition("=")
    if not equals or not KEY.fullmatch(key):
        raise UserError(f"{override!a}: expected an override of the form key=value")
    if not is_text(value):
        raise UserError(f"{key}: {value!a} is no text in this locale; set LC_ALL=C.UTF-8 or PYTHONUTF8=1")
    return key, value


def is_text(value: str) -> bool:
    """Returns whether the locale could decode a word of the command line."""
    return value.encode(errors="ignore").decode() == value


def as_config(plain: Mapping[str, Any]) -> DictConfig:
    """Returns a config node that threestudio's classes read as `plain`, whatever its texts hold.

    A class reads each setting once from its parent's node and once from its own, and OmegaConf takes one
    level of escapes off each time: `${` in a prompt needs two.
    """
    return OmegaConf.create(escaped(dict(plain), 2))


def escaped(value: Any, times: int = 1) -> Any:
    """Escapes texts so that OmegaConf gives them as they are after reading them `times` times."""
    if isinstance(value, dict):
        return {key: escaped(item, times) for key, item in value.items()}
    if isinstance(value, list):
        return [escaped(item, times) for item in value]
    if value == "???":
        return "??? "  # which OmegaConf has no way to write; a space at the end is nothing to a tokenizer
    for _ in range(times if isinstance(value, str) else 0):
        value = re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", value)
    return value


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields every full key of plain data with its value; lists count as values."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, joined(path, key))
    elif path:
        yield path, value


def settings_of(cls: type) -> type:
    """Returns the dataclass of a class's settings: its `Config`, or in data modules the annotation of `cfg`.

    Raises:
        UserError: The class has none.
    """
    fields = getattr(cls, "Config", None) or type_hints(cls).get("cfg")
    if not dataclasses.is_dataclass(fields):
        raise UserError(
            f"{cls.__module__}.{cls.__qualname__} has no dataclass of settings: add `cfg: ItsConfig`"
        )
    return fields


def annotation(cfg: DictConfig, key: str) -> Any:
    """Returns the annotation of a full key in the dataclasses of the config's types, None if unknown."""
    import threestudio
    from threestudio.utils.config import ExperimentConfig

    fields, node = ExperimentConfig, cfg
    *blocks, last = key.split(".")
    for block in blocks:
        default = getattr(fields, f"{block}_type", None)
        try:
            name = OmegaConf.select(node, f"{block}_type", default=default, throw_on_missing=False)
        except OmegaConfBaseException:  # it refers to a key that does not exist
            return None
        if name not in threestudio.__modules__:
            return None
        fields, node = settings_of(threestudio.find(name)), OmegaConf.select(node, block)
        node = node if isinstance(node, DictConfig) else OmegaConf.create({})
    return type_hints(fields).get(last)


def _is_text(hint: Any) -> bool:
    return hint is str or set(get_args(hint)) == {str, type(None)}


def _is_prompt(key: str) -> bool:
    name = key.rpartition(".")[2]
    return name == "negative_prompt" or name.startswith("prompt")


def _parsed(cfg: DictConfig, key: str, value: str) -> Any:
    hint = annotation(cfg, key)
    if not _is_text(hint):
        try:
            # `${...}` stays as it is until everything is merged
            return OmegaConf.to_container(OmegaConf.from_dotlist([f"value={value}"]), resolve=False)["value"]
        except MALFORMED as error:
            raise UserError(f"{key}: {value!r} is no YAML: {first_line(error)}") from error
    if value == "null" and hint is not str:
        return None
    if _is_prompt(key) or value == "???":
        return escaped(value)
    return value


def _merged(cfg: DictConfig, key: str, value: Any) -> DictConfig:
    for name in reversed(key.split(".")):
        value = {name: value}
    try:
        return OmegaConf.merge(cfg, value)
    except MALFORMED as error:
        raise UserError(f"{key}: {first_line(error)}") from error


def _check_texts(cfg: DictConfig, written: dict[str, Any]) -> None:
    """Refuses numbers, booleans and the like where text is expected, before anything refers to them."""
    for key, value in leaves(written):
        hint = annotation(cfg, key)
        if _is_text(hint) and not isinstance(value, (str, *get_args(hint))):
            raise UserError(f"{key}: expected text, got {shown(value)}; put it in quotes")
