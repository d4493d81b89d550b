import json
import math
from io import StringIO

import pytest
from msd_lab.toy.experiment import QUICK, Experiment, Outcome, Results, averaged
from msd_lab.toy.problems import PUBLISHED1, TABLE1, TABLE3, Problem
from msd_lab.toy.report import entry, show, tables, write_json, write_markdown, write_page
from rich.console import Console


@pytest.fixture
def section():
    found = averaged(TABLE1[0], "MSD", [Outcome({"nll": -2.0}, 16), Outcome({"nll": -1.0}, 16)], PUBLISHED1)
    return Results(Experiment("table1", "Table <1>", "Text & more.", []), QUICK, found, text="Text & more.")


def test_an_infinite_figure_is_a_string_in_json_and_named_in_tables(tmp_path):
    found = averaged(TABLE3[0], "MSD tweedie", [Outcome({"efficiency": math.inf}, 1)], {})
    write_json(found, tmp_path / "found.json")
    (row,) = json.loads((tmp_path / "found.json").read_text())
    assert row["mean"] == "inf" and row["density"] == "fractal" and row["nfe"] == 1
    assert tables(found)[0].rows[0][2].text == "∞ (deterministic)"


def test_what_follows_at_in_a_metric_is_a_column():
    found = averaged(Problem("rings"), "split", [Outcome({"bias at 0.1": 0.5, "bias at 1": 0.25}, 16)], {})
    (table,) = tables(found)
    assert table.head == ["method", "NFE", "rings, ideal, λ = 0.1", "rings, ideal, λ = 1"]
    assert [e.text for e in table.rows[0][2:]] == ["0.500", "0.250"]


@pytest.mark.parametrize(
    ("metric", "value", "mark"),
    [("nll", -1.4, "good"), ("nll", -1.3, "bad"), ("precision", 0.93, "good"), ("precision", 0.5, "bad")],
)
def test_a_figure_is_compared_with_the_papers_in_its_own_sense(metric, value, mark):
    (found,) = averaged(TABLE1[0], "MSD", [Outcome({metric: value}, 16)], PUBLISHED1)
    assert entry(found).mark == mark


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
