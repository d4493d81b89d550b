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
    """Have `write` fill a file beside `path`, then move it into place; makes the folder if need be.

    Raises:
        OSError: Such as a full disk; it names `path`, and nothing is left of the new file.
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
    """Write a safetensors file."""
    # safetensors' own writer makes files that only their owner can read, whatever the umask
    write_whole(path, lambda aside: aside.write_bytes(save(tensors)))


def save_state(state: dict[str, object], path: Path) -> None:
    """Write a training state (tensors, numbers, plain containers); read it with `weights_only=True`."""
    write_whole(path, partial(torch.save, state))


def save_text(text: str, path: Path) -> None:
    """Write a text file in UTF-8."""
    write_whole(path, lambda aside: aside.write_text(text, encoding="utf-8"))
