"""A grid of runs: every method on every prompt with every seed, resumable, on local processes or Ray.

A cell is one run of the launcher. A worker runs many cells in one process, since importing everything takes
longer than a small run. A finished cell has a `done.json` in its folder, with a checksum of every file that
is read later, and is not run again as long as they hold; a failed one is reported and run again next time.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from omegaconf import DictConfig
from threestudio_msd.errors import UserError, first_line, install
from threestudio_msd.files import save_text

from ..jobs import Job, bars, finished
from ..measure.flop import counting
from ..measure.images import Run, slug

DONE, LOCK = "done.json", ".lock"
ANSWERS = 8.0  # seconds that a cluster is given to answer
READ_LATER = ("configs/parsed.yaml", "csv_logs/**/*.csv", "save/it*-test/*.png", "save/progress/*")
SETTING = re.compile(
    r",(?=[\w.]+=)"
)  # where a setting begins: a comma inside a list of numbers does not count
OWN_SETTINGS = (
    *("exp_root_dir", "name", "tag", "timestamp", "use_timestamp", "seed", "resume"),
    *("system.prompt_processor.prompt", "system.progress_every", "data.n_particles"),
    *("trainer.max_steps", "trainer.val_check_interval", "trainer.limit_val_batches"),
)
"""What the grid sets in every run, and no method may."""
LABEL = re.compile(r"[^\W_][^/\\:\x00-\x1f]{0,79}")
DDIM = "DDIM"
"""The label of the row that is no method."""


class CellError(RuntimeError):
    """A run of the grid failed."""


@dataclass(frozen=True)
class Method:
    """A row of the comparison.

    Attributes:
        label: Its name in tables and folders.
        config: The YAML file.
        overrides: `key=value` settings on top of it.

    Raises:
        UserError: The label is no name of a folder, or a setting is none or the grid's.
    """

    label: str
    config: str
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not LABEL.fullmatch(self.label) or self.label == DDIM:
            raise UserError(
                f"--configs: {self.label!r} cannot be a label: it begins with a letter or a digit, has no "
                f"slash, colon or backslash, and is not {DDIM}"
            )
        for override in self.overrides:
            key, equals, _ = override.partition("=")
            if not equals or key in OWN_SETTINGS:
                told = f"{key} is the comparison's to set" if equals else f"{override!r} is no key=value"
                raise UserError(f"--configs: {self.label}: {told}")

    @property
    def word(self) -> str:
        """What `parse` reads as this method."""
        return ",".join([f"{self.label}={self.config}", *self.overrides])

    @classmethod
    def parse(cls, word: str) -> Method:
        """From `[LABEL=]FILE[,key=value...]`; the label is else the file's name up to `-tiny` or the like.

        The file may have commas, equals signs and spaces in its name: the longest part that is a file is
        taken.

        Raises:
            UserError: No part is a file, or the label is no name of a folder.
        """
        for end in (len(word), *(comma.start() for comma in reversed([*SETTING.finditer(word)]))):
            for start in (0, *(equals.end() for equals in re.finditer("=", word[:end]))):
                path = Path(word[start:end])
                if path.is_file():
                    label = word[: start - 1] if start else path.stem.split("-")[0].upper()
                    settings = SETTING.split(word[end + 1 :]) if word[end + 1 :] else []
                    return cls(label, str(path.resolve()), tuple(settings))
        file = SETTING.split(word)[0]
        raise UserError(f"--configs: no such file: {file.partition('=')[2] or file}")


def require_different_names(methods: Sequence[Method]) -> None:
    """Check that every row of a table has a name of its own.

    Raises:
        UserError: Two share one.
    """
    labels = [method.label for method in methods]
    if len(set(labels)) < len(labels):
        raise UserError(f"--configs: methods need different names (LABEL=FILE), got {', '.join(labels)}")


@dataclass(frozen=True)
class Cell:
    """One run: a method on a prompt with a seed for a number of steps.

    Attributes:
        method: What runs.
        prompt: On which prompt.
        seed: The run's seed.
        steps: Optimiser steps.
        root: Folder that all cells share.
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

    @property
    def folder(self) -> Path:
        """The run's folder."""
        steps = f"{self.steps}-counted" if self.counted else str(self.steps)
        return Path(self.root, self.method.label, steps, f"{slug(self.prompt)}-{self.seed}")

    @property
    def arguments(self) -> list[str]:
        """The launcher's command line."""
        return ["--config", self.method.config, "--train", *self.overrides]

    @property
    def overrides(self) -> list[str]:
        """The settings on it."""
        return [
            f"exp_root_dir={self.root}",
            f"name={self.method.label}/{self.folder.parent.name}",
            f"tag={self.folder.name}",
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
        """What runs of this kind set beside what all do."""
        return [
            f"data.n_particles={self.particles}",
            f"system.progress_every={max(1, self.steps // self.frames)}",
        ]

    @property
    def stamp(self) -> dict[str, object]:
        """What a finished run must be made from to count: these arguments, and the config as it is now."""
        config = Path(self.method.config)
        return {
            "arguments": self.arguments,
            "config": config.read_text(encoding="utf-8") if config.is_file() else "",
            "counted": self.counted,
        }

    def measure(self) -> None:
        """Hook: what a kind of run measures where it was made, which takes no part in its seconds."""

    def spent(self, cost: str) -> float:
        """What the finished run took: `seconds` or, where they were counted, `flop`, all images together."""
        return float(json.loads((self.folder / DONE).read_text(encoding="utf-8"))[cost])

    @property
    def finished(self) -> bool:
        """Whether it is done, from what it would be made from now, and none of its files has come to harm."""
        try:
            done = json.loads((self.folder / DONE).read_text(encoding="utf-8"))
            return done["stamp"] == self.stamp and done["files"] == checksums(self.folder)
        except (OSError, ValueError, KeyError, TypeError):  # no note, or one that is garbled
            return False


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of the files of a run that are read later."""
    files = sorted({path for pattern in READ_LATER for path in folder.glob(pattern) if path.is_file()})
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def run_cell(cell: Cell, launcher: str, progress: Callable[..., None] | None = None) -> float:
    """Run a cell in this process.

    Args:
        cell: What to run; whatever an unfinished attempt left in its folder is removed.
        launcher: `module:function` that takes a command line and returns an exit status.
        progress: As every job is given; not used.

    Returns:
        Seconds it took.

    Raises:
        CellError: If it failed; the message holds the last line of its log.
    """
    start = time.monotonic()
    shutil.rmtree(cell.folder, ignore_errors=True)
    log = cell.folder.with_name(f"{cell.folder.name}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    module, function = launcher.split(":")
    with _output_to(log), counting() if cell.counted else nullcontext() as counter:
        status = getattr(importlib.import_module(module), function)(cell.arguments)
    if status != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise CellError(f"exit status {status}: {lines[-1] if lines else 'no output'} (see {log})")
    images = len(Run(cell.folder).records())
    if images != cell.particles:
        raise CellError(f"{images} images instead of {cell.particles} (see {log})")
    seconds = round(time.monotonic() - start, 1)
    done = {"stamp": cell.stamp, "seconds": seconds, "files": checksums(cell.folder)}
    done |= {"flop": counter.get_total_flops()} if counter else {}
    save_text(json.dumps(done, indent=1), cell.folder / DONE)
    cell.measure()
    return seconds


@contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """Send all that this process prints to a file, what native code and older handlers print included."""
    kept = os.dup(1), os.dup(2)
    with open(log, "w", encoding="utf-8", buffering=1) as file, redirect_stdout(file), redirect_stderr(file):
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
        try:
            yield
        finally:
            for descriptor, old in zip((1, 2), kept, strict=True):
                os.dup2(old, descriptor)
                os.close(old)


Outcome: TypeAlias = tuple[Cell, str | None]
"""A cell that has been run, and its error, None if it succeeded."""

Execute: TypeAlias = Callable[[Sequence[Cell]], Iterator[Outcome]]
"""Runs cells and yields their outcomes as they come."""


def executor(launcher: str, jobs: int, ray: str | None = None) -> Execute:
    """How cells are run: in local processes, or on the Ray cluster at an address.

    Raises:
        UserError: There would be no process, or nothing answers at the address.
    """
    if jobs < 1:
        raise UserError(f"--jobs: expected 1 or more processes, got {jobs}")
    if ray:
        _require_answer(ray)
        return partial(run_on_ray, launcher=launcher, address=ray)
    return partial(run_locally, launcher=launcher, jobs=jobs)


def _require_answer(address: str) -> None:
    """Check that something listens at HOST:PORT; Ray itself would go on trying."""
    found = re.fullmatch(r"(ray://)?(?P<host>[^:/]+):(?P<port>\d+)", address)
    if found is None and address not in ("local", "auto"):
        raise UserError(f"--ray: expected local, auto or HOST:PORT, got {address!r}")
    try:
        if found:
            socket.create_connection((found["host"], int(found["port"])), timeout=ANSWERS).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"--ray {address}: no cluster answers: {first_line(error)}") from error


def run_locally(cells: Sequence[Cell], launcher: str, jobs: int) -> Iterator[Outcome]:
    """Run cells in `jobs` processes; outcomes come as they finish."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    work = [Job(cell.folder.name, run_cell, (cell, launcher)) for cell in cells]
    with closing(finished(work, jobs, threads)) as outcomes:
        for index, outcome in outcomes:
            error = outcome.exception()
            yield cells[index], None if error is None else told(error)


def told(error: BaseException) -> str:
    """An error of a run in one line; a failed run says what it is, others are bugs or limits."""
    return (
        str(error)
        if isinstance(error, (CellError, UserError))
        else f"{type(error).__name__}: {first_line(error)}"
    )


def run_on_ray(cells: Sequence[Cell], launcher: str, address: str) -> Iterator[Outcome]:
    """Run cells on a Ray cluster that shares this machine's files; `local` as address starts one here.

    Raises:
        UserError: Ray is not installed or no cluster answers.
    """
    try:
        import ray
    except ImportError as error:
        raise UserError(f"--ray needs Ray: {install('cluster')}") from error
    environment = {
        "env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    }
    try:
        ray.init(address, runtime_env=environment, log_to_driver=False)
    except (ConnectionError, ValueError) as error:
        raise UserError(f"--ray {address}: {first_line(error)}") from error
    try:
        gpus = min(1, ray.cluster_resources().get("GPU", 0))  # a task that asks for none is shown none
        remote = ray.remote(run_cell).options(num_cpus=1, num_gpus=gpus)
        waiting = {remote.remote(cell, launcher): cell for cell in cells}
        while waiting:
            (reference,), _ = ray.wait(list(waiting), num_returns=1)
            cell = waiting.pop(reference)
            try:
                ray.get(reference)
                yield cell, None
            except ray.exceptions.RayTaskError as error:
                yield cell, told(error.cause)
    finally:
        ray.shutdown()


def check_cells(cells: Sequence[Cell], read: Callable[[str, list[str]], DictConfig]) -> list[DictConfig]:
    """Check the settings of every method's first cell before any is run.

    Args:
        cells: The grid.
        read: Reads and checks a config with overrides.

    Returns:
        The methods' configs, in their order.

    Raises:
        UserError: Naming the method and what is wrong.
    """
    first = {cell.method: cell for cell in reversed(cells)}
    configs = []
    for method in dict.fromkeys(cell.method for cell in cells):
        try:
            configs.append(read(method.config, first[method].overrides))
        except UserError as error:
            raise UserError(f"{method.label}: {error}") from error
    return configs


def run_grid(cells: Sequence[Cell], execute: Execute) -> dict[Cell, str]:
    """Run all cells that are not finished, with a bar over them.

    Args:
        cells: The grid.
        execute: See `executor`.

    Returns:
        The failed cells and their errors, which were also printed.
    """
    failed: dict[Cell, str] = {}
    todo = [cell for cell in cells if not cell.finished]
    with bars() as progress:
        task = progress.add_task("runs", total=len(cells), completed=len(cells) - len(todo))
        for cell, error in execute(todo) if todo else ():
            if error is not None:
                failed[cell] = error
                line = f"failed: {cell.method.label}, '{cell.prompt}', seed {cell.seed}: {error}"
                progress.console.print(line, markup=False, soft_wrap=True)
            progress.update(task, advance=1, description=f"{cell.method.label}: {cell.prompt}")
    return failed
