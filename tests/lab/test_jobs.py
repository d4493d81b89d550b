"""The pool of processes: order, failures, progress, and workers that never outlive their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from msd_lab import jobs
from msd_lab.jobs import Job

ROOT = Path(__file__).resolve().parents[2]

PARENT = """
import signal, sys
from lab.test_jobs import write_process_id
from msd_lab import jobs
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored in the background
    list(jobs.finished([jobs.Job("0", write_process_id, (sys.argv[1],))], 1))
"""


def double(x, progress):
    progress(1, 1)
    return 2 * x


def fail(progress):
    raise ArithmeticError("boom")


def die(progress):
    os._exit(9)


def write_process_id(folder, progress):
    """Says which process this is, then works for a minute."""
    Path(folder, str(os.getpid())).touch()
    time.sleep(60)


@pytest.mark.parametrize("workers", [1, 2])
def test_jobs_return_in_order(workers):
    seen = []
    work = [Job(str(i), double, (i,)) for i in range(5)]
    assert jobs.run(work, "test", workers, lambda job, result: seen.append(result)) == [0, 2, 4, 6, 8]
    assert sorted(seen) == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_job_is_heard(workers):
    with pytest.raises(ArithmeticError, match="boom"):
        jobs.run([Job("a", fail, ()), Job("b", fail, ())], "test", workers)


def test_outcomes_come_failed_or_not_and_with_their_progress():
    heard = []
    work = [Job("good", double, (3,)), Job("bad", fail, ())]
    outcomes = dict(jobs.finished(work, 2, on_progress=lambda *message: heard.append(message)))
    assert outcomes[0].result() == 6
    assert str(outcomes[1].exception()) == "boom"
    assert heard == [(0, 1, 1, "")]


def test_after_a_worker_that_died_there_are_new_ones():
    (outcome,) = dict(jobs.finished([Job("dead", die, ())], 1)).values()
    assert "terminated abruptly" in str(outcome.exception())
    (outcome,) = dict(jobs.finished([Job("new", double, (1,))], 1)).values()
    assert outcome.result() == 2


def gone(process_id: int) -> bool:
    stat = Path(f"/proc/{process_id}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(tmp_path, how):
    script, started = tmp_path / "parent.py", tmp_path / "started"
    script.write_text(PARENT)
    started.mkdir()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "custom", ROOT / "lab", ROOT / "tests"))),
    }
    command = [sys.executable, str(script), str(started)]
    parent = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        _until(lambda: len(list(started.iterdir())) == 1)
        parent.send_signal(how)
        parent.wait(20)
        _until(lambda: all(gone(int(path.name)) for path in started.iterdir()), seconds=10)
    finally:
        parent.kill()


def _until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)
