"""A grid of runs: every method on every prompt with every seed, resumable, on local processes or on a Ray cluster.

A cell is one run of the launcher. A worker runs many cells in one process, since importing everything takes
longer than a small run. A finished cell has a `done.json` in its folder and is never run again; a failed one
is reported and run again next time.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from ..files import save_text
from .images import Run, slug

DONE = "done.json"


class CellError(RuntimeError):
    """A run of the grid failed."""


@dataclass(frozen=True)
class Method:
    """A row of the comparison.

    Attributes:
        label: Its name in tables and folders.
        config: The YAML file.
        overrides: `key=value` settings on top of it.
    """

    label: str
    config: str
    overrides: tuple[str, ...] = ()


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
    """

    method: Method
    prompt: str
    seed: int
    steps: int
    root: str
    particles: int = 4
    frames: int = 8

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return Path(self.root, self.method.label, str(self.steps), f"{slug(self.prompt)}-{self.seed}")

    @property
    def arguments(self) -> list[str]:
        """The launcher's command line."""
        return [
            *("--config", self.method.config, "--train"),
            f"exp_root_dir={self.root}",
            f"name={self.method.label}/{self.steps}",
            f"tag={self.folder.name}",
            "use_timestamp=false",
            f"seed={self.seed}",
            f"system.prompt_processor.prompt={self.prompt}",
            f"data.n_particles={self.particles}",
            f"trainer.max_steps={self.steps}",
            "trainer.enable_progress_bar=false",
            f"trainer.val_check_interval={self.steps}",
            "trainer.limit_val_batches=0",
            f"system.progress_every={max(1, self.steps // self.frames)}",
            *self.method.overrides,
        ]

    @property
    def stamp(self) -> dict[str, object]:
        """What a finished run must have been made from to count: these arguments, and the configuration as it is now."""
        config = Path(self.method.config)
        return {
            "arguments": self.arguments,
            "config": config.read_text(encoding="utf-8") if config.is_file() else "",
        }

    @property
    def finished(self) -> bool:
        """Whether it is done, from what it would be made from now."""
        done = self.folder / DONE
        return done.is_file() and json.loads(done.read_text(encoding="utf-8"))["stamp"] == self.stamp


def run_cell(cell: Cell, launcher: str) -> float:
    """Run a cell in this process.

    Args:
        cell: What to run; whatever an unfinished attempt left in its folder is removed.
        launcher: `module:function` that takes a command line and returns an exit status.

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
    with _output_to(log):
        status = getattr(importlib.import_module(module), function)(cell.arguments)
    if status != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise CellError(f"exit status {status}: {lines[-1] if lines else 'no output'} (see {log})")
    seconds = time.monotonic() - start
    save_text(json.dumps({"stamp": cell.stamp, "seconds": round(seconds, 1)}), cell.folder / DONE)
    return seconds


@contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """Send everything that this process prints to a file, what native code and older handlers print included."""
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


Outcome = tuple[Cell, str | None]
"""A cell that has been run, and its error, None if it succeeded."""


def run_locally(cells: Sequence[Cell], launcher: str, jobs: int) -> Iterator[Outcome]:
    """Run cells in `jobs` processes; outcomes come as they finish."""
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_prepare, initargs=(threads,)) as pool:
        futures: dict[Future[float], Cell] = {pool.submit(run_cell, cell, launcher): cell for cell in cells}
        try:
            for future in as_completed(futures):
                error = future.exception()
                yield futures[future], None if error is None else f"{type(error).__name__}: {error}"
        except (KeyboardInterrupt, GeneratorExit):
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _prepare(threads: int) -> None:
    import torch

    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch.set_num_threads(threads)


def run_on_ray(cells: Sequence[Cell], launcher: str, address: str) -> Iterator[Outcome]:
    """Run cells on a Ray cluster that shares this machine's file system; `address` is Ray's own, `local` starts one here.

    Raises:
        CellError: If Ray is not installed or no cluster answers.
    """
    try:
        import ray
    except ImportError as error:
        raise CellError("--ray needs Ray: pip install 'threestudio-msd[cluster]'") from error
    environment = {
        "env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    }
    try:
        ray.init(address, runtime_env=environment, log_to_driver=False)
    except (ConnectionError, ValueError) as error:
        raise CellError(f"--ray {address}: {error}") from error
    try:
        remote = ray.remote(run_cell).options(num_cpus=1)
        waiting = {remote.remote(cell, launcher): cell for cell in cells}
        while waiting:
            (reference,), _ = ray.wait(list(waiting), num_returns=1)
            cell = waiting.pop(reference)
            try:
                ray.get(reference)
                yield cell, None
            except ray.exceptions.RayTaskError as error:
                yield cell, str(error.cause)
    finally:
        ray.shutdown()


def run_grid(
    cells: Sequence[Cell], execute: Callable[[Sequence[Cell]], Iterator[Outcome]]
) -> dict[Cell, str]:
    """Run all cells that are not finished, with a bar over them.

    Args:
        cells: The grid.
        execute: Runs cells and yields their outcomes: `run_locally` or `run_on_ray`, its further arguments
            bound.

    Returns:
        The failed cells and their errors, which were also printed.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    ]
    failed: dict[Cell, str] = {}
    todo = [cell for cell in cells if not cell.finished]
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("runs", total=len(cells), completed=len(cells) - len(todo))
        for cell, error in execute(todo) if todo else ():
            if error is not None:
                failed[cell] = error
                line = f"failed: {cell.method.label}, '{cell.prompt}', seed {cell.seed}: {error}"
                progress.console.print(line, markup=False, soft_wrap=True)
            progress.update(task, advance=1, description=f"{cell.method.label}: {cell.prompt}")
    return failed


def calls_per_step(run: Run) -> float:
    """Network evaluations per optimiser step and particle that a finished run took on average."""
    spent = run.calls()
    return max(spent.values()) / (max(spent) + 1)
