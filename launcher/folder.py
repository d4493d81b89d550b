"""The folder of a run: its name, the same one in all processes, and the old one if a run is resumed."""

import os
import re
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import Any

from threestudio_msd.errors import UserError

LONGEST_NAME = 160  # bytes of a folder's name that a prompt may take; file systems allow 255
STAMP = "THREESTUDIO_MSD_TIMESTAMP"
"""Variable in which the first process leaves the time in the folder's name for those that it starts."""


def is_first() -> bool:
    """Returns whether the user started this process, before there is a trainer to ask."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"


def folder_name(text: str) -> str:
    """Returns `text`, often a prompt, as a folder's name without separators, of bounded length.

    Example:
        >>> folder_name("../a_red/green_car")
        '.._a_red_green_car'
    """
    name = re.sub(r"[\x00-\x1f/\\]|\$(?=\{)", "_", text).encode(errors="replace")[:LONGEST_NAME]
    name = name.decode(errors="ignore")
    return "_" if name in (".", "..") else name


def in_one_folder(settings: dict[str, Any]) -> dict[str, Any]:
    """Adds the time in the folder's name, the same in all processes of a run.

    Processes that something else starts, such as torchrun, know no common time; their folder has none.
    """
    if settings.get("timestamp") is not None or settings.get("use_timestamp") is False:
        return settings
    started_here = "LOCAL_RANK" not in os.environ
    stamp = datetime.now().strftime("@%Y%m%d-%H%M%S") if started_here else os.environ.get(STAMP, "")
    if not stamp:  # a run without a tag would lie in the folder of all runs of its name
        return {**settings, "timestamp": "", "tag": settings.get("tag") or "run"}
    os.environ[STAMP] = stamp
    return {**settings, "timestamp": stamp}


def in_own_folder(settings: dict[str, Any], given: Collection[str]) -> dict[str, Any]:
    """Replaces the settings of the folder by those of the run whose checkpoint `resume` names.

    Args:
        settings: The whole config.
        given: Keys that the command line sets.

    Raises:
        UserError: The command line names another folder.
    """
    run = _run_of(settings.get("resume"))
    if run is None:
        return settings
    own = _folder_keys(run, settings.get("name", ""))
    for key in given:
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
