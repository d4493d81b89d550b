"""One program at a time in a folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from launcher import UserError
from launcher.lock import alone_in

from .dummy import FOLDER, at_step, error, only_dummy, run

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys, time
from pathlib import Path
from launcher.lock import alone_in
with alone_in(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_comparison_at_a_time_and_a_dead_ones_lock_is_taken_over(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    other = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another program is at work in"), alone_in(tmp_path):
            pass
    finally:
        other.kill()
        other.wait()
    with alone_in(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_second_run_in_a_folder_is_refused_before_its_model_is_loaded(tmp_path, monkeypatch, capfd):
    only_dummy(monkeypatch, tmp_path)
    statuses = []
    with monkeypatch.context() as patch:
        at_step(patch, 12, lambda: statuses.append(run("tag=t")))
        assert run("tag=t") == 0
    assert statuses == [2]
    assert error(capfd) == f"error: tag: another program is at work in {FOLDER}/t"
    last = FOLDER / "t/ckpts/last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 40
    assert not list(FOLDER.rglob(".*"))


def test_a_trained_run_is_looked_at_while_it_goes_on(tmp_path, monkeypatch):
    only_dummy(monkeypatch, tmp_path)
    statuses = []
    resume = f"resume={FOLDER}/t/ckpts/last.ckpt"
    with monkeypatch.context() as patch:
        at_step(patch, 25, lambda: statuses.append(run("tag=t", resume, action="--test")))
        assert run("tag=t", "checkpoint.every_n_train_steps=20") == 0
    assert statuses == [0]


def test_a_run_refused_at_its_start_leaves_the_others_folder(tmp_path, monkeypatch, capfd):
    only_dummy(monkeypatch, tmp_path)
    with alone_in(FOLDER / "t"):
        assert run("tag=t") == 2
        assert [path.name for path in (FOLDER / "t").iterdir()] == [".lock"]
    assert "another program is at work" in error(capfd)
