"""Finds the laboratory's commands, for the programs beside this file that are short names of them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from msd_lab.commands import alias

import launcher  # noqa: F401  (puts the packages of this checkout on the path)

__all__ = ["alias"]
