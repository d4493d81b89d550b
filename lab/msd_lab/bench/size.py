"""How large the product is: statements (`ast.stmt`) by package, tests and findings left out.

python -m msd_lab.bench.size [CHECKOUT]
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from pathlib import Path

from launcher.host import ROOT

from ..report.table import Table

PARTS = ("custom", "launcher", "launch.py", "portable", "lab", "scripts", "setup.py", "__init__.py")


def statements(file: Path) -> int:
    """Count a file's statements, docstrings and imports included."""
    return sum(isinstance(node, ast.stmt) for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))))


def sizes(root: Path) -> dict[str, int]:
    """Count the statements of every part of a checkout, by its name."""
    counted: Counter[str] = Counter()
    for part in PARTS:
        for file in [root / part] if part.endswith(".py") else sorted((root / part).rglob("*.py")):
            if file.is_file():
                counted[part] += statements(file)
    return dict(counted)


if __name__ == "__main__":
    found = sizes(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
    print(Table(["part", "statements"], [*found.items(), ("all", sum(found.values()))]).markdown())
