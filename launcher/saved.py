"""Files that a config refers to: checkpoints to go on from or to start with."""

import os
import zipfile
from collections.abc import Mapping
from typing import Any

from threestudio_msd.errors import UserError

FILE_KEYS = ("resume", "system.weights", "system.geometry_convert_from")


def check_files(plain: Mapping[str, Any]) -> None:
    """Check that the files which a config names are there, and are checkpoints.

    Raises:
        UserError: One is not; the message has the key and the file.
    """
    for key in FILE_KEYS:
        block, _, name = key.rpartition(".")
        path = (plain.get(block, {}) if block else plain).get(name)
        if path and "LAST" not in path:  # which threestudio replaces by the last run's
            require_checkpoint(key, path)


def require_checkpoint(key: str, path: str) -> None:
    """Check that a file is one that `torch.save` wrote to its end.

    Raises:
        UserError: It is not.
    """
    if not os.path.isfile(path):
        raise UserError(f"{key}: no such file: {path}")
    if not zipfile.is_zipfile(path):
        raise UserError(f"{key}: expected a checkpoint, {path} is none, or only a part of one")
