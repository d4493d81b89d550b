"""What a step costs."""

from __future__ import annotations

import pytest
from lab.fakes import BAD, BROKEN, GOOD, one_by_one
from msd_lab.compare.costs import Budget, Costs, step_costs
from msd_lab.compare.runs import PlannedRun
from threestudio_msd.errors import UserError


def test_what_a_run_costs_once_drops_out(tmp_path):
    runs = [PlannedRun(method, "a red mug", 0, 1, str(tmp_path), particles=2) for method in (GOOD, BAD)]
    costs = step_costs(runs, one_by_one)
    assert (costs["GOOD"].nfe, costs["BAD"].nfe) == (4, 2)
    # the launcher multiplies, in every step and once at its end, an 8 x 8 matrix by itself
    assert costs["GOOD"].flop == 2 * 8**3 / 2


def test_a_budget_pays_for_steps():
    costs = Costs(nfe=4, flop=2e9, seconds=0.5)
    steps = {"steps": 30, "nfe": 100, "flop": 1e11, "seconds": 10}
    assert [costs.steps(Budget(kind, amount)) for kind, amount in steps.items()] == [30, 25, 50, 20]
    assert costs.steps(Budget("nfe", 1)) == 1


def test_what_cannot_be_counted_is_told(tmp_path):
    costs = step_costs([PlannedRun(BROKEN, "a red mug", 0, 1, str(tmp_path))], one_by_one)["BROKEN"]
    assert costs.steps(Budget("steps", 8)) == 8
    with pytest.raises(UserError, match=r"a step's flop could not be counted: .*something went wrong"):
        costs.steps(Budget("flop", 1e9))


def test_seconds_are_measured_where_they_are_asked_for(tmp_path):
    run = PlannedRun(GOOD, "a red mug", 0, 1, str(tmp_path))
    assert str(step_costs([run], one_by_one)["GOOD"].seconds) == "nan"
    assert step_costs([run], one_by_one, timed=True)["GOOD"].seconds < 1  # of next to nothing
