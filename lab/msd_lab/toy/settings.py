"""How large the toys' experiments are, and what a command is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from threestudio_msd.files import write_whole

from .learned import PUBLISHED_SETUP, Training
from .measurement import Save


@dataclass(frozen=True)
class Scale:
    """How large an experiment is.

    Args:
        grid: Points along each side of the starting grid; the reference sample is as large as the grid.
        steps: Optimiser steps.
        training: Set-up of the learned denoisers.
        draws: Estimates a point, where a gradient's mean and variance are measured.
        places: Points along each side, there.
        starts: Starting bandwidths of the frontier.
    """

    grid: int = 64
    steps: int = 150
    training: Training = PUBLISHED_SETUP
    draws: int = 1024
    places: int = 12
    starts: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5, 0.8, 1.2)


QUICK = Scale(
    grid=16, steps=50, training=Training(steps=256, batch=512), draws=64, places=6, starts=(0.1, 0.3, 1.2)
)


@dataclass(frozen=True)
class Settings:
    """What a command is given.

    Attributes:
        seeds: Number of seeds, counted from 0.
        scale: Size of the experiment.
        out: Folder for pictures.
        save: Told the measurements so far, so that they are saved along the way.
    """

    seeds: int
    scale: Scale
    out: Path
    save: Save

    def picture(self, name: str, draw: Callable[[Path], object]) -> Path:
        """Have a picture drawn into the folder, whole or not at all."""
        file = self.out / name
        write_whole(file, draw)
        return file
