"""How soon a method reaches another's result."""

from __future__ import annotations

import pytest
from msd_lab.compare.curves import convergence, nfe_to_reach
from msd_lab.compare.results import Point, Row
from msd_lab.report.table import Spread


def row(values, nfe):
    """A method whose Fréchet distance falls so, at even distances, on `nfe` evaluations."""
    points = [
        Point(i, i * nfe / (len(values) - 1), {"fd": Spread((value,))}) for i, value in enumerate(values)
    ]
    return Row(len(values), nfe, 1, 1, {"fd": Spread((values[-1],))}, tuple(points))


def test_evaluations_to_reach_a_level():
    points = row([10.0, 6.0, 2.0], 200).curve
    assert nfe_to_reach(points, "fd", 4.0) == pytest.approx(150)
    assert nfe_to_reach(points, "fd", 20.0) == 0
    assert nfe_to_reach(points, "fd", 1.0) is None


def test_convergence_is_told_against_the_best_other_method():
    table = {"OURS": row([10.0, 2.0], 100), "B": row([10.0, 6.0], 200), "C": row([10.0, 9.0], 50)}
    found = convergence(table, "OURS", "fd", floor=1.0)
    assert (found.method, found.reached, found.ratio) == ("B", 50.0, 0.25)
    assert found.above_floor == pytest.approx(1 / 5)  # 2 and 6 above 1
    assert convergence(table, "OURS", "fd", floor=7.0).above_floor is None
    assert convergence(table, "C", "fd", 1.0).reached is None


def test_unknown_figures_are_not_the_best_other():
    table = {"OURS": row([10.0, 2.0], 100), "B": row([10.0, float("nan")], 200), "C": row([9.0, 9.0], 50)}
    assert convergence(table, "OURS", "fd", 1.0).method == "C"
    assert convergence({"OURS": table["OURS"], "B": table["B"]}, "OURS", "fd", 1.0) is None
    assert convergence(table, "B", "fd", 1.0) is None
