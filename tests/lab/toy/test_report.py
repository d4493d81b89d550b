import json
import math
from io import StringIO

import pytest
from msd_lab.toy.measurement import averaged
from msd_lab.toy.problems import TABLE1, TABLE3, Problem
from msd_lab.toy.report import Section, entry, grids, show, write_json, write_markdown, write_page
from rich.console import Console


@pytest.fixture
def section():
    found = averaged(TABLE1[0], "MSD", [({"nll": -2.0}, 16), ({"nll": -1.0}, 16)])
    return Section("table1", "Table <1>", "Text & more.", found)


def test_an_infinite_figure_is_a_string_in_json_and_named_in_tables(tmp_path):
    found = averaged(TABLE3[0], "MSD tweedie", [({"efficiency": math.inf}, 1)])
    write_json(found, tmp_path / "found.json")
    (row,) = json.loads((tmp_path / "found.json").read_text())
    assert row["mean"] == "inf" and row["density"] == "fractal" and row["nfe"] == 1
    assert grids(found)[0].rows[0][2][0].text == "∞ (deterministic)"


def test_what_follows_at_in_a_metric_is_a_column():
    found = averaged(Problem("rings"), "split", [({"bias at 0.1": 0.5, "bias at 1": 0.25}, 16)])
    (grid,) = grids(found)
    assert grid.columns == ["rings, ideal, λ = 0.1", "rings, ideal, λ = 1"]
    assert [e.text for e in grid.rows[0][2]] == ["0.500", "0.250"]


@pytest.mark.parametrize(
    ("metric", "value", "beaten"),
    [("nll", -1.4, True), ("nll", -1.3, False), ("precision", 0.93, True), ("precision", 0.5, False)],
)
def test_a_figure_is_compared_with_the_papers_in_its_own_sense(metric, value, beaten):
    (found,) = averaged(TABLE1[0], "MSD", [({metric: value}, 16)])
    assert entry(found).beaten is beaten


def test_the_page_stands_alone(section, tmp_path):
    write_page([section], 2, "python scripts/toy.py all", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "Table &lt;1&gt;" in page and "-1.50 ± 0.71" in page and 'class="good"' in page
    assert "http" not in page


def test_markdown_has_the_command_and_the_tables(section, tmp_path):
    write_markdown([section], "python scripts/toy.py table1", tmp_path / "tables.md")
    text = (tmp_path / "tables.md").read_text()
    assert "`python scripts/toy.py table1`" in text and "| MSD | 16 | -1.50 ± 0.71 (-1.32) |" in text


def test_the_console_shows_the_same_tables(section):
    console = Console(file=StringIO(), width=100)
    show(section, console)
    assert "-1.50 ± 0.71 (-1.32)" in console.file.getvalue()
