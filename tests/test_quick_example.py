"""README's lines of Python run as they stand, and do what the text says."""

from __future__ import annotations

import re
from pathlib import Path

import torch

README = Path(__file__).parents[1] / "README.md"


def test_the_example_moves_every_row_to_the_mode():
    section = README.read_text(encoding="utf-8").split("\n## In Python\n")[1]
    (code,) = re.findall(r"```python\n(.*?)```", section.split("\n## ")[0], flags=re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    torch.manual_seed(0)
    found: dict = {}
    exec(code, found)
    assert found["y"].square().mean().sqrt() < 0.2
