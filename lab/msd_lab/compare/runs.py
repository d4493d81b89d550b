"""A run of a comparison: a method on a prompt with a seed, made by the launcher and kept in a folder.

A finished run has a `done.json` in its folder, with what it was made from and a checksum of every
file that is read later. It is not made again as long as both hold.
"""

import hashlib
import json
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

from threestudio_msd.files import save_text

from ..measure.images import slug
from .methods import Method
from .results import from_json, to_json

DONE = "done.json"
READ_LATER = ("configs/parsed.yaml", "csv_logs/**/*.csv", "save/it*-test/*.png", "save/progress/*")


@dataclass(frozen=True)
class Done:
    """What a finished run leaves beside its files: `done.json`.

    Attributes:
        stamp: What it was made from, see `PlannedRun.stamp`.
        seconds: Wall time, all images together.
        files: SHA-256 by path, of the files that are read later.
        flop: Floating point operations, all images together; NaN where they were not counted.
    """

    stamp: dict[str, Any]
    seconds: float
    files: dict[str, str]
    flop: float = nan


@dataclass(frozen=True)
class PlannedRun:
    """A method on a prompt with a seed for a number of steps.

    Attributes:
        method: The method.
        prompt: The prompt.
        seed: The run's seed.
        steps: Optimiser steps.
        root: Folder of all runs.
        particles: Images optimised at once.
        frames: Pictures kept along the path, beside the last.
        counted: Whether floating point operations are counted, which takes time.
    """

    method: Method
    prompt: str
    seed: int
    steps: int
    root: str
    particles: int = 4
    frames: int = 8
    counted: bool = False

    def __str__(self) -> str:
        return f"{slug(self.prompt)}-{self.seed}"

    @property
    def folder(self) -> Path:
        steps = f"{self.steps}-counted" if self.counted else str(self.steps)
        return Path(self.root, self.method.label, steps, str(self))

    @property
    def arguments(self) -> list[str]:
        return ["--config", self.method.config, "--train", *self.overrides]

    @property
    def overrides(self) -> list[str]:
        return [
            f"exp_root_dir={self.root}",
            f"name={self.method.label}/{self.folder.parent.name}",
            f"tag={self}",
            "use_timestamp=false",
            f"seed={self.seed}",
            f"system.prompt_processor.prompt={self.prompt}",
            f"trainer.max_steps={self.steps}",
            "trainer.enable_progress_bar=false",
            f"trainer.val_check_interval={self.steps}",
            "trainer.limit_val_batches=0",
            *self.own_settings,
            *self.method.overrides,
        ]

    @property
    def own_settings(self) -> list[str]:
        """Hook: the settings of runs of this kind alone."""
        return [
            f"data.n_particles={self.particles}",
            f"system.progress_every={max(1, self.steps // self.frames)}",
        ]

    @property
    def stamp(self) -> dict[str, Any]:
        """What a finished run must have been made from: these arguments, and the config as it is now."""
        config = Path(self.method.config)
        return {
            "arguments": self.arguments,
            "config": config.read_text(encoding="utf-8") if config.is_file() else "",
            "counted": self.counted,
        }

    def measure(self) -> None:
        """Hook: measure the finished run in the process that made it; not part of its seconds."""

    def finish(self, seconds: float, flop: float) -> None:
        done = Done(self.stamp, seconds, checksums(self.folder), flop)
        save_text(json.dumps(to_json(done), indent=1), self.folder / DONE)
        self.measure()

    @property
    def done(self) -> Done:
        """The note of the finished run.

        Raises:
            OSError, ValueError, TypeError: There is none, or it is garbled.
        """
        return from_json(Done, json.loads((self.folder / DONE).read_text(encoding="utf-8")))

    @property
    def finished(self) -> bool:
        """Whether it is done, made from what it would be made from now, and all its files are whole."""
        try:
            done = self.done
        except (OSError, ValueError, TypeError, AttributeError):
            return False
        return done.stamp == self.stamp and done.files == checksums(self.folder)


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of the files of a run that are read later, by their paths in its folder."""
    files = sorted({path for pattern in READ_LATER for path in folder.glob(pattern) if path.is_file()})
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }
