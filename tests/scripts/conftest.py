"""What the tests of several scripts share."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from lab.fakes import one_by_one

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(scope="session")
def load_script() -> Callable[[str], ModuleType]:
    """Imports `scripts/NAME.py` as a module."""

    def load(name: str) -> ModuleType:
        if str(SCRIPTS) not in sys.path:  # as for `python scripts/NAME.py`
            sys.path.insert(0, str(SCRIPTS))
        spec = importlib.util.spec_from_file_location(f"{name}_script", SCRIPTS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def script(
    load_script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> Callable[..., str]:
    """Runs a program in this process: its output, after it has ended with the status."""
    monkeypatch.chdir(SCRIPTS.parent)

    def run(name: str, *words: object, status: int = 0) -> str:
        assert load_script(name).main([*map(str, words)]) == status
        printed = capsys.readouterr()
        return printed.out + printed.err

    return run


@pytest.fixture
def runs_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of a comparison in this process: one of their own would take longer to start than they take."""
    # what `executor` takes at every call: a program that imports it meanwhile must not keep another one
    monkeypatch.setattr(
        "msd_lab.compare.execution.run_locally",
        lambda runs, launcher, jobs: one_by_one(runs, launcher=launcher),
    )
