"""Table 4, rehearsed on random tiny models: the real commands, two optimiser steps long."""

from __future__ import annotations

import pytest
from msd_lab.compare.costs import Costs
from msd_lab.compare.table4 import PAPER


@pytest.fixture
def table4(load_script, monkeypatch):
    """The program, without the runs that count what a step costs."""
    counted = {label: Costs(nfe=4.0, flop=1e6) for label in PAPER}
    monkeypatch.setattr("msd_lab.compare.image.step_costs", lambda *_: counted)
    return load_script("table4").main


@pytest.mark.slow
def test_a_dry_run_has_every_line_with_the_papers_figures_and_resumes(table4, tmp_path, capsys):
    out = tmp_path / "table4"
    words = ["--prompts", "A DSLR photo of a tulip", "--particles", "3", "--reference-particles", "3"]
    words += ["--dry-run", "--out", str(out)]
    assert table4(words) == 0
    printed = capsys.readouterr().out
    table = (tmp_path / "table4-dry-run" / "table4.md").read_text()
    assert table in printed
    lines = {line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ") for line in table.splitlines()}
    for label, published in PAPER.items():
        cells = lines[label]
        assert float(cells[1].split()[0]) >= 0  # measured, beside the paper's
        assert cells[4].startswith(str(published.clip))
    assert [lines[label][2] for label in ("SDS", "VSD", "SDI", "MSD")] == [
        "198.90",
        "130.22",
        "166.16",
        "114.12",
    ]
    assert lines["MSD"][5:] == ["2", "32"]  # two steps of eight calls of two branches
    done = sorted((tmp_path / "table4-dry-run").glob("runs/*/2/*/done.json"))
    assert len(done) == 4
    times = [path.stat().st_mtime_ns for path in done]
    assert table4(words) == 0
    assert [path.stat().st_mtime_ns for path in done] == times


def test_weights_that_cannot_be_had_are_told_before_a_run(table4, tmp_path, capsys):
    words = ["--features", f"clip={tmp_path}", "--out", str(tmp_path / "out")]
    assert table4(words) == 2
    assert capsys.readouterr().err.startswith("error: features clip")
    assert not (tmp_path / "out" / "runs").exists()
