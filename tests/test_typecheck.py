"""`--typecheck` covers host and extension: types and shapes hold everywhere, and a wrong one is told."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
from forks import OURS, forked

PROBE = Path(__file__).with_name("typecheck_probe.py")


def probe(*pipelines: Path) -> tuple[int, str]:
    """The probe's status and output, in a child that imports host and extension anew, and so checked."""

    def act() -> None:
        sys.argv = [str(PROBE), *map(str, pipelines)]
        runpy.run_path(str(PROBE), run_name="__main__")

    return forked(act, forgotten=OURS)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_types_and_shapes_of_host_and_mathematics_hold_and_a_wrong_type_is_told():
    status, output = probe()
    assert status == 0, output[-2000:]
    assert output.splitlines()[-1] == "TypeCheckError"


@pytest.mark.slow
def test_types_and_shapes_of_guidance_modules_and_families_hold(random_pipeline, pipeline_of):
    status, output = probe(random_pipeline, *map(pipeline_of, ("sdxl", "sd3", "if_", "flux")))
    assert status == 0, output[-2000:]
