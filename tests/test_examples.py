"""The examples in docstrings run."""

import doctest
import importlib
from pathlib import Path

import pytest

CUSTOM = Path(__file__).parents[1] / "custom"
MODULES = [
    ".".join(file.relative_to(CUSTOM).with_suffix("").parts)
    for file in sorted(CUSTOM.rglob("*.py"))
    if ">>> " in file.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0
    assert found.failed == 0
