"""The portable host computes what threestudio computes: `THREESTUDIO_ROOT=... pytest -m threestudio
tests/portable`.

A checkout that lacks its CUDA packages can be tried with THREESTUDIO_SHIM, a folder whose module
`threestudio_cpu` puts stand-ins in place.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from msd_lab.bench.random_pipelines import save_random_pipeline

PORTABLE = Path(__file__).resolve().parents[2] / "portable"
PROBE = Path(__file__).with_name("parity_probe.py")
ROOT = os.environ.get("THREESTUDIO_ROOT")

pytestmark = [
    pytest.mark.threestudio,
    pytest.mark.skipif(not ROOT, reason="THREESTUDIO_ROOT does not name a threestudio checkout"),
    pytest.mark.timeout(600),
]


def probe(folder, model, path, shim):
    """What one host computes."""
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(path), "THREESTUDIO_SHIM": shim}
    done = subprocess.run(
        [sys.executable, PROBE, model, "out.npz"], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return dict(np.load(folder / "out.npz"))


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parity")
    model = str(save_random_pipeline(folder / "model", "sd15", tokens=48))  # threestudio cuts no long prompts
    theirs = probe(folder / "theirs", model, Path(ROOT).resolve(), os.environ.get("THREESTUDIO_SHIM", ""))
    return probe(folder / "ours", model, PORTABLE, ""), theirs


def test_both_hosts_compute_the_same(both):
    ours, theirs = both
    assert set(ours) == set(theirs)
    for name, expected in theirs.items():
        if expected.dtype.kind in "US":
            assert ours[name].tolist() == expected.tolist(), name
        elif expected.dtype == np.uint8:
            np.testing.assert_array_equal(ours[name], expected, err_msg=name)
        else:
            np.testing.assert_allclose(ours[name], expected, rtol=1e-5, atol=1e-6, err_msg=name)
