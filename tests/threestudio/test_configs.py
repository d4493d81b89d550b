"""The same extension folder and the same YAML inside an unmodified threestudio.

    THREESTUDIO_ROOT=path/to/threestudio pytest -m threestudio

runs the checkout's own launch.py, with this extension linked into a copy of its `custom/`. Where the machine
has no GPU, THREESTUDIO_LAUNCHER names a script that runs that launch.py on a CPU.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
ROOT = os.environ.get("THREESTUDIO_ROOT")

pytestmark = [
    pytest.mark.threestudio,
    pytest.mark.skipif(not ROOT, reason="THREESTUDIO_ROOT does not name a threestudio checkout"),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of links to the checkout's files, whose `custom/` holds this extension only."""
    folder = tmp_path_factory.mktemp("threestudio")
    for entry in Path(ROOT).resolve().iterdir():
        if entry.name not in ("custom", "outputs"):
            (folder / entry.name).symlink_to(entry)
    (folder / "custom").mkdir()
    (folder / "custom" / "threestudio_msd").symlink_to(REPOSITORY / "custom" / "threestudio_msd")
    return folder


def launch(checkout: Path, config: str, *overrides: str) -> tuple[str, Path]:
    """Train a bundled config with the checkout's launcher; returns its output and the run's folder."""
    launcher = os.environ.get("THREESTUDIO_LAUNCHER", "launch.py")
    command = [
        sys.executable,
        launcher,
        "--config",
        str(REPOSITORY / "configs" / config),
        "--train",
        "--gpu",
        "0",
    ]
    shorter = [
        "tag=run",
        "use_timestamp=false",
        "trainer.max_steps=4",
        "trainer.val_check_interval=2",
        "data.n_particles=2",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [*command, *shorter, *overrides],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr, next((checkout / "outputs").glob("*/run"))


def test_the_tiny_config_trains_inside_threestudio(checkout):
    _, run = launch(checkout, "msd-tiny.yaml", "system.prompt_processor.prompt=a green car")
    assert sorted(path.name for path in (run / "save" / "it4-test").glob("*.png")) == ["0.png", "1.png"]
    assert (run / "save" / "path.png").is_file()
    assert (run / "ckpts" / "last.ckpt").is_file()
    header = next((run / "csv_logs").rglob("metrics.csv")).read_text().splitlines()[0].split(",")
    assert {"train/loss_msd", "train/bandwidth", "train/shift_norm", "train/nfe"} <= set(header)
