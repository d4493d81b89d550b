"""Images read back from disk, each with its prompt, seed and particle: finished runs, and sampled references."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from torch import Tensor

from ..files import save_text

SAMPLES = "samples.json"


@dataclass(frozen=True)
class ImageRecord:
    """One image on disk and what it stands for."""

    prompt: str
    seed: int
    particle: int
    path: Path


@dataclass(frozen=True)
class Frame:
    """All particles of a run at one step of its path.

    Attributes:
        step: Optimiser steps done.
        calls: Network evaluations spent on one particle by then, every guidance branch counted.
        images: `[P, H, W, 3]` in [0, 1].
    """

    step: int
    calls: float
    images: Tensor


@dataclass(frozen=True)
class Run:
    """A finished text-to-2D run.

    Args:
        folder: Its folder, the one with `configs/` and `save/`.
    """

    folder: Path

    @cached_property
    def config(self) -> DictConfig:
        """The configuration it ran with."""
        return OmegaConf.load(self.folder / "configs" / "parsed.yaml")

    @property
    def prompt(self) -> str:
        """Its prompt."""
        return str(self.config.system.prompt_processor.prompt)

    @property
    def seed(self) -> int:
        """Its seed."""
        return int(self.config.seed)

    def records(self) -> list[ImageRecord]:
        """The resulting images, one a particle; none while the run is unfinished."""
        results = sorted(
            self.folder.glob("save/it*-test"), key=lambda path: int(re.search(r"it(\d+)-test$", path.name)[1])
        )
        paths = sorted(results[-1].glob("*.png"), key=lambda path: int(path.stem)) if results else []
        return [ImageRecord(self.prompt, self.seed, int(path.stem), path) for path in paths]

    def frames(self) -> list[Frame]:
        """The path of the images, by step."""
        from ..image.frames import read_tiles  # needs threestudio

        size, particles, calls = int(self.config.data.height), int(self.config.data.n_particles), self.calls()
        frames = []
        for entry in json.loads((self.folder / "save/progress/frames.json").read_text(encoding="utf-8")):
            tiles = read_tiles(str(self.folder / f"save/progress/{entry['step']}.png"), particles)
            factor = tiles.shape[1] // size  # frames are enlarged by repeating pixels
            images = torch.from_numpy(tiles[:, ::factor, ::factor].copy()).float() / 255
            # a frame is taken before its step's update: the calls up to the step before made it
            spent = max((value for step, value in calls.items() if step < entry["step"]), default=0.0)
            frames.append(Frame(entry["step"], spent, images))
        return frames

    def calls(self) -> dict[int, float]:
        """Network evaluations spent on one particle, by optimiser step."""
        logs = sorted(self.folder.glob("csv_logs/version_*/metrics.csv"))
        spent: dict[int, float] = {}
        for log in logs:
            with open(log, newline="", encoding="utf-8") as file:
                rows = [row for row in csv.DictReader(file) if row.get("train/nfe")]
            spent.update({int(row["step"]): float(row["train/nfe"]) for row in rows})
        return spent

    def total_calls(self) -> float:
        """Network evaluations spent on one particle in the whole run."""
        return max(self.calls().values())


def read_runs(folder: Path) -> list[Run]:
    """All finished runs in a folder, at any depth, in the order of their paths."""
    runs = (Run(config.parent.parent) for config in sorted(folder.glob("**/configs/parsed.yaml")))
    return [run for run in runs if run.records()]


def read_records(folder: Path) -> list[ImageRecord]:
    """The images in a folder: samples that `write_samples` left there, or the results of finished runs.

    Raises:
        FileNotFoundError: If there are neither.
    """
    if (folder / SAMPLES).is_file():
        listed = json.loads((folder / SAMPLES).read_text(encoding="utf-8"))
        return [
            ImageRecord(entry["prompt"], entry["seed"], entry["particle"], folder / entry["path"])
            for entry in listed
        ]
    records = [record for run in read_runs(folder) for record in run.records()]
    if not records:
        raise FileNotFoundError(
            f"{folder}: neither samples ({SAMPLES}) nor finished runs (configs/parsed.yaml, save/it*-test/)"
        )
    return records


def read_images(records: Iterable[ImageRecord]) -> Tensor:
    """Load images of one size: `[N, H, W, 3]` in [0, 1]."""
    arrays = [
        np.asarray(Image.open(record.path).convert("RGB"), dtype=np.float32) / 255 for record in records
    ]
    return torch.from_numpy(np.stack(arrays))


def write_samples(folder: Path, prompt: str, seed: int, images: Tensor) -> list[ImageRecord]:
    """Write images `[P, H, W, 3]` in [0, 1] of one prompt and seed, and add them to the folder's list.

    The list is replaced whole, after the images are there.
    """
    known = read_records(folder) if (folder / SAMPLES).is_file() else []
    kept = [record for record in known if (record.prompt, record.seed) != (prompt, seed)]
    place = folder / slug(prompt)
    place.mkdir(parents=True, exist_ok=True)
    added = [ImageRecord(prompt, seed, i, place / f"{seed}-{i}.png") for i in range(len(images))]
    for record, image in zip(added, images, strict=True):
        Image.fromarray((image.clamp(0, 1) * 255).round().byte().cpu().numpy()).save(record.path)
    records = [*kept, *added]
    save_text(json.dumps(_listed(records, folder), indent=1), folder / SAMPLES)
    return records


def _listed(records: Sequence[ImageRecord], folder: Path) -> list[dict[str, object]]:
    return [
        {
            "prompt": r.prompt,
            "seed": r.seed,
            "particle": r.particle,
            "path": r.path.relative_to(folder).as_posix(),
        }
        for r in records
    ]


def slug(prompt: str, longest: int = 60) -> str:
    """A prompt as the name of a folder: letters, digits and underscores, with a hash where that could be ambiguous.

    >>> slug("a red mug")
    'a_red_mug'
    """
    plain = re.sub(r"[^a-z0-9]+", "_", prompt.lower()).strip("_")
    if plain.replace("_", " ") == prompt and len(plain) <= longest:
        return plain
    return f"{plain[:longest]}-{hashlib.sha256(prompt.encode()).hexdigest()[:8]}"
