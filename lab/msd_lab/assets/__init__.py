"""Files that ship with the laboratory: judges, probe, templates of reports."""

from pathlib import Path

ASSETS = Path(__file__).resolve().parent
