"""Images read back from disk, each with its prompt, seed and particle: of runs,
samples, loose pictures.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from threestudio_msd.errors import UserError, first_line
from threestudio_msd.files import save_text, write_whole
from torch import Tensor

SAMPLES = "samples.json"
LEAST = 3  # pixels, to have neighbours on both sides
NFE = "train/nfe"  # the column of a run's log


@dataclass(frozen=True)
class ImageRecord:
    """One image on disk, with its prompt, seed and particle."""

    prompt: str
    seed: int
    particle: int
    path: Path


@contextmanager
def blamed(path: Path, fault: str = "cannot be read") -> Iterator[None]:
    """Turn whatever a damaged file makes its reader raise into a `UserError` that names
    the file.
    """
    try:
        yield
    except Exception as error:
        raise UserError(f"{path}: {fault}: {first_line(error)}") from error


@dataclass(frozen=True)
class Snapshot:
    """All particles of a run at one step of its path.

    Attributes:
        step: Optimiser steps done.
        nfe: Network function evaluations spent on one particle by then, every guidance
            branch counted.
        path: The picture that shows them all.
        particles: How many there are.
        height: Rows of pixels of each.
        bandwidth: Lambda at that step; None where the guidance has none.
    """

    step: int
    nfe: float
    path: Path
    particles: int
    height: int
    bandwidth: float | None = None

    def images(self) -> Tensor:
        """The particles, `[P, H, W, 3]` in [0, 1]."""
        from threestudio_msd.image.frames import untile  # needs threestudio

        tiles = untile(read_pixels(self.path), self.particles)
        factor = tiles.shape[1] // self.height  # the picture repeats pixels
        return torch.from_numpy(tiles[:, ::factor, ::factor].copy()).float() / 255


@dataclass(frozen=True)
class Run:
    """A finished run.

    Args:
        folder: Its folder, the one with `configs/` and `save/`.
    """

    folder: Path

    @cached_property
    def config(self) -> DictConfig:
        """The configuration it ran with.

        Raises:
            UserError: It cannot be read, or it is not that of a run of this package.
        """
        path = self.folder / "configs" / "parsed.yaml"
        with blamed(path):
            config = OmegaConf.load(path)
        for key in ("seed", "system.prompt_processor.prompt"):
            if not isinstance(config, DictConfig) or OmegaConf.select(config, key) is None:
                raise UserError(f"{path}: not the configuration of a run of this package: it has no {key}")
        return config

    @property
    def prompt(self) -> str:
        return str(self.config.system.prompt_processor.prompt)

    @property
    def seed(self) -> int:
        return int(self.config.seed)

    def saved(self, kind: str) -> dict[int, Path]:
        """The folders `save/itN-KIND` by step N, in order.

        Where an earlier, longer run has left its results in the same folder too, those
        of the later run.
        """
        names = (re.fullmatch(r"it(\d+)-.*", path.name) for path in self.folder.glob(f"save/it*-{kind}"))
        steps = sorted(int(name[1]) for name in names if name)
        most = OmegaConf.select(self.config, "trainer.max_steps") or 0
        own = [step for step in steps if step <= most] or steps
        return {step: self.folder / f"save/it{step}-{kind}" for step in own}

    def records(self) -> list[ImageRecord]:
        """The resulting images, one a particle; none while the run is unfinished."""
        newest = [*self.saved("test").values()][-1:]
        paths = {int(path.stem): path for at in newest for path in at.glob("*.png") if path.stem.isdigit()}
        return [ImageRecord(self.prompt, self.seed, i, paths[i]) for i in sorted(paths)]

    def frames(self) -> list[Snapshot]:
        """The images along the way, by step.

        Raises:
            UserError: The list of them is missing or garbled.
        """
        listed, spent = self.folder / "save/progress/frames.json", self.nfe_by_step()
        height, particles = int(self.config.data.height), int(self.config.data.n_particles)
        with blamed(listed, "not a list of frames"):
            entries = [(int(e["step"]), e["bandwidth"]) for e in json.loads(listed.read_text("utf-8"))]
        shown = []
        for step, bandwidth in entries:
            # a picture is taken before its step's update: the network calls up to the
            # step before made it
            nfe = max((value for at, value in spent.items() if at < step), default=0.0)
            shown.append(Snapshot(step, nfe, listed.with_name(f"{step}.png"), particles, height, bandwidth))
        return shown

    def nfe_by_step(self) -> dict[int, float]:
        """Network function evaluations spent on one particle, by step; empty where none
        is logged.
        """
        logs = self.folder.glob("csv_logs/version_*/metrics.csv")
        spent: dict[int, float] = {}
        for log in sorted(logs, key=lambda path: int(path.parent.name.rpartition("_")[2])):
            with open(log, newline="", encoding="utf-8") as file:
                rows = {int(row["step"]): float(row[NFE]) for row in csv.DictReader(file) if row.get(NFE)}
            # a later log replaces the earlier ones from its first step on
            spent = {step: value for step, value in spent.items() if step < min(rows, default=0)} | rows
        return spent

    @property
    def nfe(self) -> float:
        """Network function evaluations spent on one particle in the whole run.

        Raises:
            UserError: None are logged.
        """
        return max(self._spent().values())

    @property
    def steps(self) -> int:
        """Optimiser steps taken, up to the last that was logged.

        Raises:
            UserError: None are logged.
        """
        return max(self._spent()) + 1

    def _spent(self) -> dict[int, float]:
        spent = self.nfe_by_step()
        if not spent:
            raise UserError(f"{self.folder}/csv_logs: no column {NFE} in the log of this run")
        return spent


def read_runs(folder: Path) -> list[Run]:
    """All finished runs in a folder, at any depth, by path; of a run's own subfolder,
    that run.
    """
    configs = [path for path in sorted(folder.glob("**/configs/parsed.yaml")) if not _is_copy(path)]
    configs = configs or [parent / "configs/parsed.yaml" for parent in [*folder.resolve().parents][:2]]
    runs = (Run(config.parent.parent) for config in configs if config.is_file())
    return [run for run in runs if run.records()]


def _is_copy(path: Path) -> bool:
    """Whether a file lies in a run's code snapshot, where older versions kept copies of
    other runs.
    """
    return any(above.name == "code" and (above.parent / "configs").is_dir() for above in path.parents)


def read_records(folder: Path, prompt: str | None = None) -> list[ImageRecord]:
    """The images in a folder: samples that `write_samples` left there, results of runs,
    or loose pictures.

    Args:
        folder: Where they lie, at any depth; or one picture.
        prompt: Replaces the prompts that runs and samples were made for; loose pictures
            need it.

    Raises:
        UserError: There are none, a list of samples is garbled, or a run is text-to-3D,
            whose pictures show more than colours.
    """
    if not folder.exists():
        raise UserError(f"{folder}: no such file or folder")
    runs = read_runs(folder)
    for run in runs:
        if OmegaConf.select(run.config, "system.renderer_type") is not None:
            raise UserError(
                f"{run.folder}: a text-to-3D run: measure its scene by --three-d, one run a folder"
            )
    found = read_samples(folder) or [record for run in runs for record in run.records()]
    if found:
        return [replace(record, prompt=prompt) for record in found] if prompt else found
    pictures = [folder] if folder.is_file() else sorted(folder.rglob("*.png"))
    loose = [path for path in pictures if not _is_copy(path)]
    if prompt and loose:
        return [ImageRecord(prompt, 0, i, path) for i, path in enumerate(loose)]
    raise UserError(
        f"{folder}: neither samples ({SAMPLES}) nor finished runs (configs/parsed.yaml, save/it*-test/)"
        + ("; for other pictures say what they should show" if loose else ", and no picture")
    )


def read_samples(folder: Path) -> list[ImageRecord]:
    """The images that `write_samples` left in a folder; none where there is no list.

    Raises:
        UserError: The list is garbled, or names files outside the folder.
    """
    path = folder / SAMPLES
    if not path.is_file():
        return []
    with blamed(path, "not a list of samples"):
        entries = json.loads(path.read_text(encoding="utf-8"))
        records = [
            ImageRecord(str(e["prompt"]), int(e["seed"]), int(e["particle"]), folder / e["path"])
            for e in entries
        ]
    for record in records:
        if not record.path.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{path}: lists a file outside its folder: {record.path}")
    return records


def read_pixels(path: Path) -> np.ndarray:
    """An image file, `[H, W, 3]`, 8 bits.

    Raises:
        UserError: It is missing or cannot be read.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        missing = "no such file" if not path.exists() else f"cannot be read as an image: {first_line(error)}"
        raise UserError(f"{path}: {missing}") from error


def read_images(records: Iterable[ImageRecord]) -> Tensor:
    """Load images of one size: `[N, H, W, 3]` in [0, 1].

    Raises:
        UserError: One cannot be read, is too small, or has another size than the first.
    """
    arrays: list[np.ndarray] = []
    for record in records:
        arrays.append(read_pixels(record.path))
        first, size = (f"{pixels.shape[1]} x {pixels.shape[0]}" for pixels in (arrays[0], arrays[-1]))
        if min(arrays[-1].shape[:2]) < LEAST:
            raise UserError(f"{record.path}: expected at least {LEAST} x {LEAST} pixels, these are {size}")
        if size != first:
            raise UserError(f"{record.path}: images of one size are needed, these are {first} and {size}")
    return torch.from_numpy(np.stack(arrays)).float() / 255


def eight_bits(images: Tensor) -> np.ndarray:
    """Round images in [0, 1] to the bytes of a file."""
    return (images.clamp(0, 1) * 255).round().byte().cpu().numpy()


def write_samples(folder: Path, prompt: str, seed: int, images: Tensor) -> list[ImageRecord]:
    """Write images `[P, H, W, 3]` in [0, 1] of one prompt and seed, and add them to the
    folder's list.

    The list is replaced whole, after the images are there.
    """
    others = [record for record in read_samples(folder) if (record.prompt, record.seed) != (prompt, seed)]
    place = folder / slug(prompt)
    added = [ImageRecord(prompt, seed, i, place / f"{seed}-{i}.png") for i in range(len(images))]
    for record, pixels in zip(added, eight_bits(images), strict=True):
        write_whole(record.path, Image.fromarray(pixels).save)
    records = [*others, *added]
    entries = [asdict(r) | {"path": r.path.relative_to(folder).as_posix()} for r in records]
    save_text(json.dumps(entries, indent=1), folder / SAMPLES)
    return records


def slug(prompt: str, longest: int = 60) -> str:
    """A prompt as the name of a folder: letters, digits and underscores, with a hash where that is ambiguous.

    >>> slug("a red mug")
    'a_red_mug'
    """
    plain = re.sub(r"[^a-z0-9]+", "_", prompt.lower()).strip("_")
    if plain.replace("_", " ") == prompt and len(plain) <= longest:
        return plain
    return f"{plain[:longest]}-{hashlib.sha256(prompt.encode()).hexdigest()[:8]}"
