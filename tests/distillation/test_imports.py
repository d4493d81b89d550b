"""The mathematics stands on torch alone, whatever is installed beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("pytorch_lightning", "transformers", "diffusers", "matplotlib", "omegaconf", "threestudio")


def test_importing_the_mathematics_imports_torch_only():
    program = (
        "import sys, threestudio_msd.distillation; "
        f"print(','.join(name for name in {HEAVY} if name in sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": f"{ROOT / 'custom'}:{ROOT / 'portable'}", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == ""
