"""Many computations on all cores: one pool of processes, kept between runs, for toys and comparisons."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from multiprocessing.queues import SimpleQueue
from threading import Thread
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

UPDATES = 50  # how often a job says how far it is, at most

_news: SimpleQueue | None = None
"""In a worker: where it tells its parent how far its job is."""


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


Heard = Callable[[int, int, int, str], None]
"""Told of a job's index, its step, its number of steps and its note."""


def run(
    jobs: Sequence[Job],
    title: str,
    workers: int | None = None,
    on_result: Callable[[Job, Any], None] | None = None,
) -> list:
    """Run every job, a bar each, and return the results in the jobs' order, whatever order they end in.

    Args:
        jobs: The computations.
        title: Name of the overall bar.
        workers: Processes, of one thread each; as many as the machine has cores by default. 1 runs in this
            process.
        on_result: Told of each result as it comes, so that it can be saved along the way.

    Raises:
        Exception: Whatever a job raises; the remaining ones are dropped.
    """
    workers = workers or os.cpu_count() or 1
    results: dict[int, Any] = {}
    tasks: dict[int, Any] = {}
    with bars(transient=True) as shown:
        total = shown.add_task(title, total=len(jobs))

        def hear(index: int, step: int, steps: int, note: str) -> None:
            if index not in tasks:
                tasks[index] = shown.add_task("", total=None)
            label = f"  {jobs[index].name} {note}"
            shown.update(tasks[index], completed=step, total=steps, description=label)

        outcomes = _here(jobs, hear) if min(workers, len(jobs)) <= 1 else finished(jobs, workers, 1, hear)
        with closing(outcomes):
            for index, outcome in outcomes:
                results[index] = outcome.result()
                if index in tasks:
                    shown.update(tasks[index], visible=False)
                shown.advance(total)
                if on_result:
                    on_result(jobs[index], results[index])
    return [results[index] for index in range(len(jobs))]


def bars(transient: bool = False) -> Progress:
    """Bars with counts and times, on stderr."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=transient)


def _here(jobs: Sequence[Job], hear: Heard) -> Iterator[tuple[int, Future]]:
    for index, job in enumerate(jobs):

        def progress(step: int, steps: int, note: str = "", index: int = index) -> None:
            hear(index, step, steps, note)

        outcome: Future = Future()
        outcome.set_result(job.function(*job.args, progress=progress))
        yield index, outcome


def finished(
    jobs: Sequence[Job], workers: int, threads: int = 1, hear: Heard | None = None
) -> Iterator[tuple[int, Future]]:
    """Run jobs in processes and yield the index and the outcome of each as it ends, failed or not.

    Closing the iterator before its end, by Ctrl-C too, kills the workers and drops what is left.

    Args:
        jobs: The computations.
        workers: Processes.
        threads: Threads that each may use.
        hear: Told how far the jobs are.
    """
    pool, news = _pool(workers, threads)
    pending: dict[Future, int] = {}
    try:
        pending = {pool.submit(_call, index, job): index for index, job in enumerate(jobs)}
        while pending:
            done, _ = wait(pending, timeout=0.3, return_when=FIRST_COMPLETED)
            while not news.empty():
                told = news.get()
                if hear:
                    hear(*told)
            for future in done:
                yield pending.pop(future), future
    finally:
        if pending or pool._broken:
            for process in list((pool._processes or {}).values()):
                process.kill()
            pool.shutdown(cancel_futures=True)
            _pool.cache_clear()


@cache
def _pool(workers: int, threads: int) -> tuple[ProcessPoolExecutor, SimpleQueue]:
    """Worker processes, started as jobs need them, and where they tell how far they are.

    Made once and kept, since every start of a process loads torch again.
    """
    context = multiprocessing.get_context("spawn")
    news = context.SimpleQueue()
    return ProcessPoolExecutor(workers, context, initializer=_start, initargs=(news, threads)), news


def _start(news: SimpleQueue, threads: int) -> None:
    """Begin a worker: Ctrl-C is its parent's, it ends with that, even by `kill -9`, and has its threads."""
    global _news
    _news = news
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch.set_num_threads(threads)


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _call(index: int, job: Job) -> Any:
    def progress(step: int, steps: int, note: str = "") -> None:
        if step % max(steps // UPDATES, 1) == 0:
            _news.put((index, step, steps, note))

    return job.function(*job.args, progress=progress)
