"""Making runs: in this machine's processes or on a Ray cluster, with a bar over them.

A worker makes many runs in one process, since importing everything takes longer than a small run. A failed
run is reported, does not stop the others, and is made again next time.
"""

import importlib
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from functools import partial
from math import nan
from pathlib import Path
from typing import TypeAlias

from omegaconf import DictConfig
from threestudio_msd.errors import UserError, first_line, install

from ..jobs import Job, bars, finished
from ..measure.flop import counting
from ..measure.images import Run
from .methods import Method
from .runs import PlannedRun

RAY_TIMEOUT = 8.0  # seconds that a cluster is given to answer


class RunError(RuntimeError):
    """A run failed; the message holds the last line of its log."""


Outcome: TypeAlias = tuple[PlannedRun, str | None]
"""A run that was made, and its error, None if it succeeded."""
Execute: TypeAlias = Callable[[Sequence[PlannedRun]], Iterator[Outcome]]
"""Makes runs and yields their outcomes as they come."""
Read: TypeAlias = Callable[[str, list[str]], DictConfig]
"""Reads and checks a config with overrides."""


def launch(run: PlannedRun, launcher: str, progress: Callable[..., None] | None = None) -> None:
    """Make a run in this process.

    Args:
        run: The run; whatever an unfinished attempt left in its folder is removed.
        launcher: `module:function` that takes a command line and returns an exit status.
        progress: As every job is given; not used.

    Raises:
        RunError: It failed.
    """
    start = time.monotonic()
    shutil.rmtree(run.folder, ignore_errors=True)
    log = run.folder.with_name(f"{run.folder.name}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    module, function = launcher.split(":")
    with _output_to(log), counting() if run.counted else nullcontext() as counter:
        status = getattr(importlib.import_module(module), function)(run.arguments)
    if status != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise RunError(f"exit status {status}: {lines[-1] if lines else 'no output'} (see {log})")
    images = len(Run(run.folder).records())
    if images != run.particles:
        raise RunError(f"{images} images instead of {run.particles} (see {log})")
    run.finish(round(time.monotonic() - start, 1), counter.get_total_flops() if counter else nan)


@contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """Send what this process prints to a file, native code and existing log handlers included."""
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


def executor(launcher: str, jobs: int, ray: str | None = None) -> Execute:
    """Choose how runs are made: in local processes, or on the Ray cluster at an address.

    Raises:
        UserError: Nothing answers at the address.
    """
    if ray is not None:
        _require_answer(ray)
        return partial(run_on_ray, launcher=launcher, address=ray)
    return partial(run_locally, launcher=launcher, jobs=jobs)


def _require_answer(address: str) -> None:
    """Check that something listens at HOST:PORT; Ray itself would retry for minutes."""
    found = re.fullmatch(r"(ray://)?(?P<host>[^:/]+):(?P<port>\d+)", address)
    if found is None and address not in ("local", "auto"):
        raise UserError(f"--ray: expected local, auto or HOST:PORT, got {address!r}")
    try:
        if found:
            socket.create_connection((found["host"], int(found["port"])), timeout=RAY_TIMEOUT).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"--ray {address}: no cluster answers: {first_line(error)}") from error


def run_locally(runs: Sequence[PlannedRun], launcher: str, jobs: int) -> Iterator[Outcome]:
    jobs = min(jobs, len(runs))
    threads = max(1, (os.cpu_count() or 1) // jobs)
    work = [Job(str(run), launch, (run, launcher)) for run in runs]
    with closing(finished(work, jobs, threads)) as outcomes:
        for index, outcome in outcomes:
            yield runs[index], _in_one_line(outcome.exception())


def _in_one_line(error: BaseException | None) -> str | None:
    """A run's error; one that is neither the run's nor the user's is a bug or a limit, and names its type."""
    if error is None or isinstance(error, (RunError, UserError)):
        return error and str(error)
    return f"{type(error).__name__}: {first_line(error)}"


def run_on_ray(runs: Sequence[PlannedRun], launcher: str, address: str) -> Iterator[Outcome]:
    """Make runs on a Ray cluster that shares this machine's files; the address `local` starts one here.

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
        gpus = min(1, ray.cluster_resources().get("GPU", 0))  # a task that asks for none sees none
        remote = ray.remote(launch).options(num_cpus=1, num_gpus=gpus)
        waiting = {remote.remote(run, launcher): run for run in runs}
        while waiting:
            (reference,), _ = ray.wait(list(waiting), num_returns=1)
            run, error = waiting.pop(reference), None
            try:
                ray.get(reference)
            except ray.exceptions.RayTaskError as failed:
                error = failed.cause
            yield run, _in_one_line(error)
    finally:
        ray.shutdown()


def check_runs(runs: Sequence[PlannedRun], read: Read) -> list[DictConfig]:
    """Check the settings of every method's first run before any is made.

    Returns:
        The methods' configs, in their order.

    Raises:
        UserError: Naming the method and what is wrong.
    """
    first = {run.method: run for run in reversed(runs)}
    configs = []
    for method in dict.fromkeys(run.method for run in runs):
        with told(method):
            configs.append(read(method.config, first[method].overrides))
    return configs


@contextmanager
def told(method: Method) -> Iterator[None]:
    """Name the method in what is wrong with it."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{method.label}: {error}") from error


def run_all(runs: Sequence[PlannedRun], execute: Execute) -> dict[PlannedRun, str]:
    """Make all runs that are not finished, with a bar over them.

    Returns:
        The failed runs and their errors, which were also printed.
    """
    failed: dict[PlannedRun, str] = {}
    runs = list(dict.fromkeys(runs))
    todo = [run for run in runs if not run.finished]
    with bars() as progress:
        task = progress.add_task("runs", total=len(runs), completed=len(runs) - len(todo))
        for run, error in execute(todo) if todo else ():
            if error is not None:
                failed[run] = error
                line = f"failed: {run.method.label}, '{run.prompt}', seed {run.seed}: {error}"
                progress.console.print(line, markup=False, soft_wrap=True)
            progress.update(task, advance=1, description=f"{run.method.label}: {run.prompt}")
    return failed
