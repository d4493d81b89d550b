import re

import pytest
from msd_lab.toy import tables
from msd_lab.toy.densities import fractal
from msd_lab.toy.problems import Problem


@pytest.fixture
def _small(monkeypatch):
    """One column a table, two methods."""
    monkeypatch.setattr(tables, "ALL_METHODS", ("DDIM", "MSD tweedie"))
    monkeypatch.setattr(tables, "TABLE1", (Problem("fractal"),))


@pytest.mark.usefixtures("_small")
def test_table_1_states_what_bounds_a_figure(settings):
    section = tables.table1(settings)
    assert {m.method for m in section.measurements} == {"DDIM", "MSD tweedie"}
    bound = float(re.search(r"fractal (-\d\.\d\d) and [01]\.\d{3}\.$", section.text)[1])
    tree = fractal()
    assert bound == pytest.approx(-float(tree.logp(tree.grid(400)).max()), abs=0.05)
    assert min(m.mean for m in section.measurements if m.metric == "nll") >= bound


def test_the_frontier_is_a_table_and_a_picture(settings, monkeypatch):
    section = tables.frontier(settings)
    assert len({(m.problem, m.method) for m in section.measurements}) == 8
    ((file, caption),) = section.pictures
    assert file.stat().st_size > 5000 and "0.2, 0.6" in caption
