"""Runs of an unmodified threestudio's own launch.py, with this extension linked into its `custom/`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
ROOT = os.environ.get("THREESTUDIO_ROOT")
INSIDE = [
    pytest.mark.threestudio,
    pytest.mark.skipif(not ROOT, reason="THREESTUDIO_ROOT does not name a threestudio checkout"),
    pytest.mark.timeout(900),
]
"""Marks of a test that runs such a checkout."""


def linked(folder: Path) -> Path:
    """A folder of links to the checkout's files, whose `custom/` holds this extension only."""
    for entry in Path(ROOT).resolve().iterdir():
        if entry.name not in ("custom", "outputs"):
            (folder / entry.name).symlink_to(entry)
    (folder / "custom").mkdir()
    (folder / "custom" / "threestudio_msd").symlink_to(REPOSITORY / "custom" / "threestudio_msd")
    return folder


def launch(checkout: Path, config: Path, settings: dict[str, str]) -> tuple[str, Path]:
    """Train a config with the checkout's launcher, or the script that THREESTUDIO_LAUNCHER names.

    Args:
        checkout: See `linked`.
        config: Its YAML file.
        settings: Overrides; `name` is the run's.

    Returns:
        What it printed, and the run's folder.
    """
    launcher = os.environ.get("THREESTUDIO_LAUNCHER", "launch.py")
    settings = {**settings, "tag": "run", "use_timestamp": "false"}
    done = subprocess.run(
        [
            *(sys.executable, launcher, "--config", str(config), "--train", "--gpu", "0"),
            *(f"{key}={value}" for key, value in settings.items()),
        ],
        cwd=checkout,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr, checkout / "outputs" / settings["name"] / "run"


def logged(run: Path) -> set[str]:
    """The columns of a run's log."""
    return set(next((run / "csv_logs").rglob("metrics.csv")).read_text().splitlines()[0].split(","))
