"""Runs of an unmodified threestudio's own launch.py, with this extension linked into its `custom/`."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from .things import make_things

REPOSITORY = Path(__file__).resolve().parents[2]
ROOT = os.environ.get("THREESTUDIO_ROOT")
INSIDE = [
    pytest.mark.threestudio,
    pytest.mark.skipif(not ROOT, reason="THREESTUDIO_ROOT does not name a threestudio checkout"),
    pytest.mark.timeout(900),
]
"""Marks of a test that runs such a checkout."""
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",  # its own checkpoints, which hold more than tensors
}


def linked(folder: Path) -> Path:
    """A folder of links to the checkout's files, with things for its configs to read.

    Its `custom/` holds this extension, and without a GPU what stands for nvdiffrast; see `absent`.
    """
    for entry in Path(ROOT).resolve().iterdir():
        if entry.name not in ("custom", "outputs", "load"):
            (folder / entry.name).symlink_to(entry)
    make_things(folder / "load")
    (folder / "load" / "prompt_library.json").symlink_to(
        Path(ROOT).resolve() / "load" / "prompt_library.json"
    )
    (folder / "custom").mkdir()
    (folder / "custom" / "threestudio_msd").symlink_to(REPOSITORY / "custom" / "threestudio_msd")
    if not torch.cuda.is_available():
        (folder / "custom" / "absent.py").symlink_to(Path(__file__).with_name("absent.py"))
    return folder


def launch(
    checkout: Path, config: Path, settings: dict[str, str], action: str = "--train"
) -> tuple[str, Path]:
    """Run a config with the checkout's launcher, or the script that THREESTUDIO_LAUNCHER names.

    Args:
        checkout: See `linked`.
        config: Its YAML file.
        settings: Overrides; `name` is the run's.
        action: What to do.

    Returns:
        What it printed, and the run's folder.
    """
    launcher = os.environ.get("THREESTUDIO_LAUNCHER", "launch.py")
    settings = {**settings, "tag": "run", "use_timestamp": "false"}
    words = [f"{key}={value}" for key, value in settings.items()]
    arguments = ["--config", str(config), action, "--gpu", "0", *words]
    log = checkout / f"{settings['name']}{action}.log"
    request = {"script": launcher, "arguments": arguments, "folder": str(checkout), "log": str(log)}
    server = warm()
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    status, said = server.stdout.readline().strip(), log.read_text() if log.is_file() else ""
    assert status == "0", f"status {status}: {said[-6000:]}"
    return said, checkout / "outputs" / settings["name"] / "run"


@functools.cache
def warm() -> subprocess.Popen:
    """The process that runs them; see `warm.py`."""
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("warm.py"))],
        env={**os.environ, **ENVIRONMENT},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def logged(run: Path) -> set[str]:
    """The columns of a run's log."""
    return set(next((run / "csv_logs").rglob("metrics.csv")).read_text().splitlines()[0].split(","))
