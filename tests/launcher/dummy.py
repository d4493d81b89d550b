"""Runs of the dummy extension, in this process or in a forked child of it."""

import csv
import importlib
import json
import os
import sys
import traceback
from pathlib import Path

import launch
from launcher import host

EXTENSION = Path(__file__).resolve().parents[1] / "launch_extension"
CONFIG = str(EXTENSION / "dummy.yaml")
FOLDER = Path("outputs/dummy")


def only_dummy(patch, folder):
    """Work in `folder`, with the dummy extension as the only one."""
    patch.chdir(folder)
    patch.setattr(launch, "import_extensions", lambda: host.import_extensions(EXTENSION))


def run(*overrides, action="--train"):
    """The exit status of `launch.py`."""
    return launch.main(["--config", CONFIG, action, "trainer.enable_progress_bar=false", *overrides])


def outcome(folder, name="it40-test"):
    """What a run's test wrote."""
    return json.loads((FOLDER / folder / f"save/{name}.json").read_text())


def curve(folder):
    """The rows of a run's CSV log."""
    with (FOLDER / folder / "csv_logs/version_0/metrics.csv").open() as file:
        return list(csv.DictReader(file))


def error(capfd):
    """The one line that an error is told in."""
    out, err = capfd.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in out + err, err
    return lines[0]


def forked(act):
    """Act in a forked child: the exit status, below 0 for a signal, and what it printed."""
    pid = os.fork()
    if pid:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return status, Path("output").read_text()
    code = 99
    try:
        output = os.open("output", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout = sys.__stdout__ = os.fdopen(1, "w", buffering=1)
        sys.stderr = sys.__stderr__ = os.fdopen(2, "w", buffering=1)
        code = act()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def at_step(patch, step, act):
    """Have the dummy system do something at one of its steps."""
    system = load_dummy()
    usual = system.training_step

    def training_step(self, batch, batch_idx):
        if self.global_step == step:
            act()
        return usual(self, batch, batch_idx)

    patch.setattr(system, "training_step", training_step)


def load_dummy():
    """The dummy system's class, which a test may change."""
    host.find_host()
    host.import_host("")
    host.import_extensions(EXTENSION)
    return importlib.import_module("dummy_extension").DummySystem
