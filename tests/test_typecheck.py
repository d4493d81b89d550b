"""`--typecheck` covers host and extension: types and shapes hold everywhere, and a wrong one is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def probe(folder: Path, *pipelines: Path) -> subprocess.CompletedProcess:
    program = Path(__file__).with_name("typecheck_probe.py")
    return subprocess.run(
        [sys.executable, str(program), *map(str, pipelines)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_types_and_shapes_of_host_and_mathematics_hold_and_a_wrong_type_is_told(tmp_path):
    found = probe(tmp_path)
    assert found.returncode == 0, found.stderr[-2000:]
    assert found.stdout.splitlines()[-1] == "TypeCheckError"


@pytest.mark.slow
def test_types_and_shapes_of_guidance_modules_and_families_hold(tmp_path, random_pipeline, pipeline_of):
    found = probe(tmp_path, random_pipeline, *map(pipeline_of, ("sdxl", "sd3", "if_", "flux")))
    assert found.returncode == 0, found.stderr[-2000:]
