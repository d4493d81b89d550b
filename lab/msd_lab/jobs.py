"""Many computations on all cores: one pool of processes, kept between calls, for toys and comparisons."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing.queues import SimpleQueue
from threading import Thread
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

MOST_MESSAGES = 50  # of a job's progress

_messages: SimpleQueue | None = None
"""In a worker: where it reports its job's progress to its parent."""


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


OnProgress = Callable[[int, int, int, str], None]
"""Called with a job's index, its step, its number of steps and its note."""


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
        on_result: Called with each result as it comes, so that it can be saved along the way.

    Raises:
        Exception: The first that a job raises; the remaining jobs are dropped.
    """
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    results: dict[int, Any] = {}
    tasks: dict[int, Any] = {}
    with bars(transient=True) as progress:
        total = progress.add_task(title, total=len(jobs))

        def show(index: int, step: int, steps: int, note: str) -> None:
            if index not in tasks:
                tasks[index] = progress.add_task("", total=None)
            label = f"  {jobs[index].name} {note}"
            progress.update(tasks[index], completed=step, total=steps, description=label)

        outcomes = _here(jobs, show) if workers <= 1 else finished(jobs, workers, 1, show)
        with closing(outcomes):
            for index, outcome in outcomes:
                results[index] = outcome.result()
                if index in tasks:
                    progress.update(tasks[index], visible=False)
                progress.advance(total)
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


def _here(jobs: Sequence[Job], on_progress: OnProgress) -> Iterator[tuple[int, Future]]:
    for index, job in enumerate(jobs):
        outcome: Future = Future()
        outcome.set_result(job.function(*job.args, progress=partial(_report, on_progress, index)))
        yield index, outcome


def _report(send: Callable[..., None], index: int, step: int, steps: int, note: str = "") -> None:
    send(index, step, steps, note)


def finished(
    jobs: Sequence[Job], workers: int, threads: int = 1, on_progress: OnProgress | None = None
) -> Iterator[tuple[int, Future]]:
    """Run jobs in processes and yield the index and the outcome of each as it ends, failed or not.

    Closing the iterator before its end, by Ctrl-C too, kills the workers and drops what is left.

    Args:
        jobs: The computations.
        workers: Processes.
        threads: Threads that each may use.
        on_progress: Called as the jobs proceed.
    """
    pool, messages = _pool(workers, threads)
    pending: dict[Future, int] = {}
    try:
        pending = {pool.submit(_call, index, job): index for index, job in enumerate(jobs)}
        while pending:
            done, _ = wait(pending, timeout=0.3, return_when=FIRST_COMPLETED)
            while not messages.empty():
                message = messages.get()
                if on_progress:
                    on_progress(*message)
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
    """Worker processes and the queue of their messages; kept, since every new process loads torch again."""
    context = multiprocessing.get_context("spawn")
    messages = context.SimpleQueue()
    return ProcessPoolExecutor(workers, context, initializer=_start, initargs=(messages, threads)), messages


def _start(messages: SimpleQueue, threads: int) -> None:
    """Begin a worker: it ignores Ctrl-C, which is its parent's, ends with that, and limits its threads."""
    global _messages
    _messages = messages
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = str(threads)  # torch, which a job loads after this, reads it


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _call(index: int, job: Job) -> Any:
    def send(index: int, step: int, steps: int, note: str) -> None:
        if step % max(steps // MOST_MESSAGES, 1) == 0:
            _messages.put((index, step, steps, note))

    return job.function(*job.args, progress=partial(_report, send, index))
