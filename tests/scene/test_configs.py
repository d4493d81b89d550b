"""The text-to-3D configs: all pass the launcher's checks, the tiny ones train."""

from __future__ import annotations

from pathlib import Path

import pytest
import threestudio

from launcher.checks.config import check
from launcher.config import read_plain

ROOT = Path(__file__).parents[2]
CEILING = ROOT / "lab/msd_lab/configs/truth-nerf-tiny.yaml"
CONFIGS = {
    path.name: path
    for pattern in ("*-nerf-*.yaml", "*-hashgrid-*.yaml")
    for path in (*sorted((ROOT / "configs").glob(pattern)), CEILING)
}


@pytest.mark.parametrize("config", CONFIGS)
def test_every_key_and_value_is_known(config):
    check(read_plain(str(CONFIGS[config]), [], n_gpus=1), threestudio)


@pytest.mark.parametrize("method", ["sds", "sdi", "vsd", "truth"])
def test_the_baselines_and_the_ceiling_train(train, method):
    run = train(str(CONFIGS[f"{method}-nerf-tiny.yaml"]), "trainer.max_steps=2")
    assert (run / "ckpts" / "last.ckpt").is_file()
    assert len(list((run / "save" / "it2-test").glob("*.png"))) == 2
