"""The homework notebook runs from its first cell to its last, and its outputs stay small."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "homework.ipynb"
SIZES = "STEPS, COUNT = 160, 6"
METHODS = ["DDIM", "SDS", "CSD", "VSD", "SDI", "ISM", "MSD"]


@pytest.fixture(scope="module")
def cells():
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def test_every_cell_runs(cells, monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(plt, "show", lambda: (shown.append(plt.gcf()), plt.close()))
    monkeypatch.chdir(NOTEBOOK.parent)
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert SIZES in code
    names = {}
    exec(compile(code.replace(SIZES, "STEPS, COUNT = 2, 2"), NOTEBOOK.name, "exec"), names)
    assert list(names["found"]) == METHODS
    assert all(images.shape == (2, 64, 64, 3) for images in names["found"].values())
    assert len(shown) == len(METHODS) + 6
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed] == ["method", *METHODS]


def test_its_outputs_are_kept_and_small(cells):
    pictures = [output for cell in cells for output in cell.get("outputs", []) if "data" in output]
    assert len(pictures) == len(METHODS) + 6
    assert NOTEBOOK.stat().st_size < 400_000
