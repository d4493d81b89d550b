"""Checkpoint files: whether one is whole, holds what a run left, and nothing but finite numbers."""

import hashlib
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from threestudio_msd.errors import NonFiniteError, UserError, first_line
from threestudio_msd.fields import shown
from threestudio_msd.files import save_text
from torch import Tensor

SETTINGS = "settings"
"""Where a checkpoint keeps the settings of its run."""
FILE_KEYS = ("resume", "system.weights", "system.geometry_convert_from")
WEIGHTS = {"state_dict": dict, "epoch": int, "global_step": int}
STATE = {**WEIGHTS, "optimizer_states": list, "loops": dict}
MORE = {
    SETTINGS: dict,
    "guidance": dict,
    "lr_schedulers": list,
    "callbacks": dict,
    "pytorch-lightning_version": str,
}
"""What checkpoints hold, and of which type; the last only where they do."""
LITTER = (".tmp-*", ".[0-9]*-*", "*.ckpt.tmp")
"""What writers that were killed leave: the portable host's, the extension's, and this launcher's of old."""


def named_files(plain: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The checkpoints that a config names: key and path.

    Raises:
        UserError: `LAST` in a path stands for the newest folder, and there is none.
    """
    for key in FILE_KEYS:
        block, _, name = key.rpartition(".")
        path = (plain.get(block, {}) if block else plain).get(name)
        if path or (path == "" and key != "system.geometry_convert_from"):
            yield key, _resolved(key, path)


def _resolved(key: str, path: str) -> str:
    from threestudio.utils.misc import find_last_path

    if key == "resume":  # where threestudio does not resolve it
        return path
    try:
        return find_last_path(path)
    except FileNotFoundError as error:
        raise UserError(f"{key}: no such file: {first_line(error)}") from error


def require_file(key: str, path: str) -> None:
    """Raises a `UserError` if a checkpoint is missing or a folder."""
    if os.path.isdir(path):
        raise UserError(f"{key}: {path} is a folder; expected a checkpoint, such as {path}/ckpts/last.ckpt")
    if not os.path.isfile(path):
        raise UserError(f"{key}: no such file: {path or shown(path)}")


def read_checkpoint(key: str, path: str) -> dict[str, Any]:
    """A run's checkpoint, on the CPU; nothing in it is executed.

    Args:
        key: The setting that names the file.
        path: Of the file.

    Raises:
        UserError: The file is missing, damaged, no checkpoint of a run, or holds NaN or infinity.
    """
    require_file(key, path)
    found = damage(path)
    if found:
        raise UserError(f"{key}: {path} {found}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch makes of a zip file that something else wrote
        raise UserError(f"{key}: {path} is no checkpoint of tensors and plain data") from error
    _require_contents(key, path, checkpoint)
    return checkpoint


def _require_contents(key: str, path: str, checkpoint: Any) -> None:
    wanted = STATE if key == "resume" else WEIGHTS
    if not isinstance(checkpoint, dict):
        raise UserError(
            f"{key}: expected the checkpoint of a run, {path} holds a {type(checkpoint).__name__}"
        )
    for name in wanted:
        if name not in checkpoint:
            raise UserError(f"{key}: expected the checkpoint of a run, {path} has no '{name}'")
    for name, kind in {**STATE, **MORE}.items():
        if name in checkpoint and not _is_of(kind, checkpoint[name]):
            raise UserError(f"{key}: {path} is damaged: its '{name}' is no {kind.__name__}")
    weights, groups = checkpoint["state_dict"], checkpoint.get("optimizer_states", [])
    if not all(isinstance(weight, Tensor) for weight in weights.values()):
        raise UserError(f"{key}: {path} is damaged: its 'state_dict' holds other things than tensors")
    if key == "resume" and not (groups and all(map(_is_state, groups)) and "fit_loop" in checkpoint["loops"]):
        raise UserError(f"{key}: {path} has no state of an optimiser and of a loop to go on with")
    try:
        require_finite_state(checkpoint, f"in {path}")
    except NonFiniteError as error:
        raise UserError(f"{key}: {error}") from error


def _is_of(kind: type, value: Any) -> bool:
    counts = kind is not int or (not isinstance(value, bool) and isinstance(value, int) and value >= 0)
    return isinstance(value, kind) and counts


def _is_state(value: Any) -> bool:
    return isinstance(value, dict) and {"state", "param_groups"} <= value.keys()


def damage(path: str) -> str | None:
    """What is wrong with a file as it lies on the disk; None where it is whole.

    A checkpoint of this launcher has its SHA-256 beside it; any has the CRC-32 of its parts inside.
    """
    try:
        if not zipfile.is_zipfile(path):
            return "is no checkpoint, or only a part of one"
        expected = checksum_file(path)
        if expected.is_file():
            same = hashlib.sha256(Path(path).read_bytes()).hexdigest() == expected.read_text()[:64]
            return None if same else f"is damaged: its SHA-256 is not that of {expected.name}"
        with zipfile.ZipFile(path) as archive:
            part = archive.testzip()
    except OSError as error:
        return f"cannot be read: {error.strerror or first_line(error)}"
    except (zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError, RuntimeError, EOFError) as error:
        return f"is damaged: {first_line(error)}"
    return f"is damaged: the checksum of {part} differs" if part else None


def checksum_file(path: Any) -> Path:
    """Where a checkpoint's checksum lies, as `sha256sum` writes it; a link has that of its target."""
    return Path(f"{os.path.realpath(path)}.sha256")


def write_checksum(path: Any, data: memoryview) -> None:
    """Put the checksum of `data` beside the file that holds it."""
    save_text(f"{hashlib.sha256(data).hexdigest()}  {os.path.basename(path)}\n", checksum_file(path))


def require_finite_state(checkpoint: Mapping[str, Any], where: str) -> None:
    """Check weights and the state of optimisers.

    Raises:
        NonFiniteError: Naming the first tensor that holds NaN or infinity.
    """
    for part in ("state_dict", "optimizer_states"):
        for name, tensor in _tensors(checkpoint.get(part, {}), part):
            if not torch.isfinite(tensor).all():
                raise NonFiniteError(f"{name} {where} is NaN or infinite")


def _tensors(value: Any, path: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield path.removeprefix("state_dict."), value
    elif isinstance(value, (Mapping, list, tuple)):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for name, item in items:
            yield from _tensors(item, f"{path}.{name}")


def sweep(folder: str) -> None:
    """Remove what writers that were killed left in a run's folder."""
    for pattern in LITTER:
        for path in Path(folder).rglob(pattern):
            if path.is_file():
                path.unlink(missing_ok=True)
