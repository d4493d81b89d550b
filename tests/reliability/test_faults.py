"""Faults from outside: kills, signals, a full disk, flipped bits. `make torture` runs them and says what was
lost.

A run is a forked child of this process, which dies at a chosen place; then it is resumed, and must end with
the results and the curves of a run that nothing disturbed.
"""

import os
import random
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from forks import forked

import launcher.checkpoint
from launcher import UserError
from launcher.saved import damage, read_checkpoint

from ..launcher.dummy import FOLDER, at_step, curve, load_dummy, only_dummy, outcome, run

pytestmark = pytest.mark.slow

EVERY = 3  # steps from checkpoint to checkpoint
OFTEN = f"checkpoint.every_n_train_steps={EVERY}"
LAST = FOLDER / "t/ckpts/last.ckpt"


def child(*overrides, fault=lambda: None):
    """Run in a forked child, once `fault` has prepared it; see `forked`."""

    def act():
        note_steps()
        fault()
        return run(*overrides)

    return forked(act)


def note_steps():
    """Have the dummy system write down how many steps were begun."""
    system = load_dummy()
    usual = system.training_step

    def training_step(self, batch, batch_idx):
        Path("begun").write_text(str(self.global_step + 1))
        return usual(self, batch, batch_idx)

    system.training_step = training_step


def go_on():
    """Resume: how many steps were begun once more."""
    begun = int(Path("begun").read_text())
    status, output = child("tag=t", OFTEN, f"resume={LAST}")
    assert status == 0, output
    lost = begun - int(re.search(r"Going on in .* from step (\d+)", output)[1])
    assert 0 <= lost <= EVERY
    return lost


def require_undisturbed():
    """Compare results, curves and the files left with those of the whole run."""
    assert outcome("t") == outcome("whole")
    assert curve("t") == curve("whole")
    assert not list((FOLDER / "t").rglob(".*"))
    assert damage(str(LAST)) is None


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def in_step(step, signum):
    """The fault of a signal in a step."""
    return lambda: at_step(pytest.MonkeyPatch(), step, lambda: os.kill(os.getpid(), signum))


def in_save(count, half):
    """The fault of a kill in a save: when half of the bytes are written, or when all are, before the
    checksum.
    """

    def prepare():
        saves = iter(range(1, 1000))
        flush, checksum = launcher.checkpoint._flush, launcher.checkpoint.write_checksum

        def kill_half_way(path, data):
            if next(saves) == count:
                flush(path, data[: len(data) // 2])
                kill()
            flush(path, data)

        def kill_before(path, data):
            if next(saves) == count:
                kill()
            checksum(path, data)

        if half:
            launcher.checkpoint._flush = kill_half_way
        else:
            launcher.checkpoint.write_checksum = kill_before

    return prepare


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A whole run."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        only_dummy(patch, folder)
        assert run("tag=whole", OFTEN) == 0
    return folder


@pytest.fixture(autouse=True)
def _own_folder(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path / "copy")
    only_dummy(monkeypatch, tmp_path / "copy")


@pytest.mark.parametrize("step", [4, 10, 11, 17, 25, 33, 39])
def test_kill_in_a_step(step, tally):
    status, output = child("tag=t", OFTEN, fault=in_step(step, signal.SIGKILL))
    assert status == -signal.SIGKILL, output
    lost = go_on()
    require_undisturbed()
    tally.add("kill -9 in a step", lost)


@pytest.mark.parametrize("half", [True, False], ids=["half", "whole"])
@pytest.mark.parametrize("count", [3, 8, 14, 20, 29])
def test_kill_in_a_save(count, half, tally):
    status, output = child("tag=t", OFTEN, fault=in_save(count, half))
    assert status == -signal.SIGKILL, output
    lost = go_on()
    require_undisturbed()
    tally.add("kill -9 in a save", lost)


def test_kills_one_after_the_other(tally):
    status, output = child("tag=t", OFTEN, fault=in_step(7, signal.SIGKILL))
    for step in (13, 20, 28):
        assert status == -signal.SIGKILL, output
        status, output = child("tag=t", OFTEN, f"resume={LAST}", fault=in_step(step, signal.SIGKILL))
    lost = go_on()
    require_undisturbed()
    for _ in range(4):
        tally.add("kill -9, one after the other", lost)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [2, 10, 22])
def test_signals(step, signum, tally):
    status, output = child("tag=t", OFTEN, fault=in_step(step, signum))
    assert status == 128 + signum, output
    assert f"resume={LAST}" in output and "Traceback" not in output
    assert go_on() == 0
    require_undisturbed()
    tally.add(signum.name)


@pytest.fixture
def small_disk():
    """A function that gives `outputs/dummy/t` a disk of so many KiB; skipped where that is not allowed."""
    folder = FOLDER / "t"
    mounted = []

    def mount(size):
        folder.mkdir(parents=True, exist_ok=True)
        option = f"{'remount,' * bool(mounted)}size={size}k"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", option, "tmpfs", str(folder.resolve())], capture_output=True
        )
        if done.returncode:
            pytest.skip("mounting is not allowed here")
        mounted.append(folder)

    yield mount
    if mounted:
        subprocess.run(["umount", str(folder.resolve())], check=True)


@pytest.mark.parametrize("size", [32, 48, 64, 80, 100, 140])
def test_a_full_disk(size, small_disk, tally):
    small_disk(size)
    status, output = child("tag=t", OFTEN)
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    assert status == 2 and len(errors) == 1 and "Traceback" not in output, output
    assert "No space left on device" in errors[0] and "outputs/dummy/t" in errors[0]
    assert not list((FOLDER / "t").rglob(".*"))
    saved = list((FOLDER / "t/ckpts").glob("*.ckpt"))
    assert all(damage(str(path)) is None for path in saved)
    assert ("is intact" in errors[0]) == bool(saved)
    small_disk(9999)
    if not LAST.is_file():
        return tally.add("full disk, before the first checkpoint")
    lost = go_on()
    require_undisturbed()
    tally.add("full disk", lost)


@pytest.mark.parametrize("seed", range(5))
def test_flipped_bits(seed, tally):
    data = (FOLDER / "whole/ckpts/last.ckpt").read_bytes()
    shutil.copytree(FOLDER / "whole/ckpts", LAST.parent)
    draw = random.Random(seed)
    for _ in range(20):
        spoilt = bytearray(data)
        spoilt[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        LAST.write_bytes(spoilt)
        with pytest.raises(UserError, match=r"last\.ckpt"):
            read_checkpoint("resume", str(LAST))
        tally.add("flipped bit, refused by the file's name")


@pytest.mark.parametrize("step", [6, 24])
def test_a_step_that_spoils_a_parameter(step, tally):
    def prepare():
        system = load_dummy()
        usual = system.training_step

        def training_step(self, batch, batch_idx):
            if self.global_step == step:
                self.trainer.optimizers[0].param_groups[0]["lr"] = float("inf")
            return usual(self, batch, batch_idx)

        system.training_step = training_step

    status, output = child("tag=t", OFTEN, fault=prepare)
    assert status == 1 and f"after step {step + 1}; the last checkpoint, " in output, output
    assert torch.load(LAST, weights_only=True)["global_step"] <= step
    lost = go_on()
    require_undisturbed()
    tally.add("step that makes infinity", lost)
