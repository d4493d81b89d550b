"""Files that are either whole or absent: written aside, then moved into place."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file that appears whole or not at all: written under another name in the
    same folder, then moved into place.

    Args:
        path: The file; its folder is made if it is missing.
        write: Called with the temporary path, which it writes to.

    Raises:
        OSError: The file cannot be written, as on a full disk. The error names `path`,
            and no part of the new file is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # keeps the suffix, from which writers tell the format
    aside = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        write(aside)
        os.replace(aside, path)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        aside.unlink(missing_ok=True)


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors by name into a safetensors file, which appears whole or not at all.

    Raises:
        OSError: The file cannot be written.
    """
    # safetensors' own writer makes files that only their owner can read, whatever the umask
    write_whole(path, lambda aside: aside.write_bytes(save(tensors)))


def save_state(state: dict[str, object], path: Path) -> None:
    """Write a training state of tensors, numbers and plain containers by `torch.save`;
    `torch.load` with `weights_only=True` reads it.

    The file appears whole or not at all.

    Raises:
        OSError: The file cannot be written.
    """
    write_whole(path, partial(torch.save, state))


def save_text(text: str, path: Path) -> None:
    """Write a text file in UTF-8, which appears whole or not at all.

    Raises:
        OSError: The file cannot be written.
    """
    write_whole(path, lambda aside: aside.write_text(text, encoding="utf-8"))
