"""Many small computations on all cores, a progress bar each: a pool of one-thread processes that is kept between runs."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_board: Any = None


@dataclass(frozen=True)
class Job:
    """One computation: a function of the module level and its arguments.

    Attributes:
        name: Shown beside its bar.
        function: Called with `args` and a keyword `progress(step, steps, note="")`; its result must pickle.
        args: Arguments; must pickle.
    """

    name: str
    function: Callable[..., Any]
    args: tuple


def run(
    jobs: Sequence[Job],
    title: str,
    workers: int | None = None,
    on_result: Callable[[Job, Any], None] | None = None,
) -> list:
    """Run every job and return the results in the jobs' order, whatever order they end in.

    Args:
        jobs: The computations.
        title: Name of the overall bar.
        workers: Processes; as many as the machine lends cores by default. 1 runs in this process.
        on_result: Told of each result as it comes, so that it can be saved along the way.

    Raises:
        Exception: Whatever a job raises; the remaining ones are dropped.
    """
    workers = workers or os.cpu_count() or 1
    results: dict[int, Any] = {}
    with _bars() as bars:
        total = bars.add_task(title, total=len(jobs))

        def finish(index: int, result: Any) -> None:
            results[index] = result
            bars.advance(total)
            if on_result:
                on_result(jobs[index], result)

        if min(workers, len(jobs)) <= 1:
            for index, job in enumerate(jobs):
                task = bars.add_task(f"  {job.name}", total=None)
                note = lambda step, steps, text="", task=task, job=job: bars.update(  # noqa: E731
                    task, completed=step, total=steps, description=f"  {job.name} {text}"
                )
                finish(index, job.function(*job.args, progress=note))
                bars.remove_task(task)
        else:
            _run_pool(jobs, workers, bars, finish)
    return [results[index] for index in range(len(jobs))]


def _run_pool(jobs: Sequence[Job], workers: int, bars: Progress, finish: Callable[[int, Any], None]) -> None:
    pool, board = _pool(workers)
    try:
        pending = {pool.submit(_call, index, job): index for index, job in enumerate(jobs)}
        tasks: dict[int, Any] = {}
        while pending:
            done, _ = wait(pending, timeout=0.3, return_when=FIRST_COMPLETED)
            for index, (step, steps, note) in board.items():
                tasks.setdefault(index, bars.add_task("", total=None) if index not in tasks else None)
                bars.update(
                    tasks[index], completed=step, total=steps, description=f"  {jobs[index].name} {note}"
                )
            for future in done:
                index = pending.pop(future)
                result = future.result()
                board.pop(index, None)
                if index in tasks:
                    bars.update(tasks[index], visible=False)
                finish(index, result)
    except BaseException:  # Ctrl-C included: end the workers, then let it pass on
        for process in list(pool._processes.values()):
            process.terminate()
        pool.shutdown(cancel_futures=True)
        _pool.cache_clear()
        raise


@cache
def _pool(workers: int) -> tuple[ProcessPoolExecutor, Any]:
    """Worker processes, started as jobs need them, and the board where they write how far they are.

    Made once and kept, since every start of a process loads torch again.
    """
    context = multiprocessing.get_context("spawn")
    board = context.Manager().dict()
    return ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(board,)), board


def _start_worker(board: Any) -> None:
    global _board
    _board = board
    torch.set_num_threads(1)


def _call(index: int, job: Job) -> Any:
    def progress(step: int, steps: int, note: str = "") -> None:
        if step % max(steps // 50, 1) == 0:
            _board[index] = (step, steps, note)

    return job.function(*job.args, progress=progress)


def _bars() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)
