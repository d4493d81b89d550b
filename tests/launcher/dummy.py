"""Runs of the dummy extension."""

import csv
import importlib
import json
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
