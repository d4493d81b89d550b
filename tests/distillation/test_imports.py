"""The mathematics stands on torch alone, whatever is installed beside it."""

from __future__ import annotations

import importlib
import sys

from forks import OURS, forked

HEAVY = ("pytorch_lightning", "transformers", "diffusers", "matplotlib", "omegaconf", "threestudio")


def import_mathematics() -> None:
    """Print what comes with it."""
    importlib.import_module("threestudio_msd.distillation")
    print([name for name in HEAVY if name in sys.modules])


def test_importing_the_mathematics_imports_torch_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert forked(import_mathematics, forgotten=(*OURS, *HEAVY)) == (0, "[]\n")
