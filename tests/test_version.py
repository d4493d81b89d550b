"""One version: setup.py and CITATION.cff say what the package says."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import setuptools
import threestudio_msd

ROOT = Path(__file__).parents[1]


def test_setup_and_citation_name_the_packages_version(monkeypatch):
    given = {}
    monkeypatch.setattr(setuptools, "setup", given.update)
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(ROOT / "setup.py"))
    (cited,) = re.findall(
        r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert given["version"] == cited == threestudio_msd.__version__
    assert "py.typed" in given["package_data"]["threestudio_msd"]
    assert (ROOT / "custom" / "threestudio_msd" / "py.typed").is_file()
