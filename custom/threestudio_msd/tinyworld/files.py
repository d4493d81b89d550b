"""Files that are either whole or absent: written aside, then moved into place."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Writes a safetensors file atomically, making its folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    save_file(tensors, aside)
    os.replace(aside, path)


def save_state(state: dict[str, object], path: Path) -> None:
    """Writes a training state (tensors, numbers, plain containers) atomically; read it with ``weights_only=True``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    torch.save(state, aside)
    os.replace(aside, path)


def save_text(text: str, path: Path) -> None:
    """Writes a text file atomically, making its folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, path)
