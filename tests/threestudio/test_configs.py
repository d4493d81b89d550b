"""The same extension folder and the same YAML inside an unmodified threestudio.

    THREESTUDIO_ROOT=path/to/threestudio pytest -m threestudio

runs the checkout's own launch.py, with this extension linked into a copy of its `custom/`. Where the machine
has no GPU, THREESTUDIO_LAUNCHER names a script that runs that launch.py on a CPU.
"""

from __future__ import annotations

import pytest

from .checkout import REASON, REPOSITORY, ROOT, launch

pytestmark = [
    pytest.mark.threestudio,
    pytest.mark.skipif(not ROOT, reason=REASON),
    pytest.mark.timeout(900),
]

SHORT = {
    "trainer.max_steps": "4",
    "trainer.val_check_interval": "2",
    "data.n_particles": "2",
    "system.prompt_processor.prompt": "a green car",
}


def test_the_tiny_config_trains_inside_threestudio(checkout):
    config = REPOSITORY / "configs" / "msd-tiny.yaml"
    _, run = launch(checkout, config, {**SHORT, "name": "msd-tiny"})
    assert sorted(path.name for path in (run / "save" / "it4-test").glob("*.png")) == ["0.png", "1.png"]
    assert (run / "save" / "path.png").is_file()
    assert (run / "ckpts" / "last.ckpt").is_file()
    header = next((run / "csv_logs").rglob("metrics.csv")).read_text().splitlines()[0].split(",")
    assert {"train/loss_msd", "train/bandwidth", "train/shift_norm", "train/nfe"} <= set(header)
