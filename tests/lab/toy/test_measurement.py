import math

import pytest
from msd_lab.jobs import Job
from msd_lab.toy.measurement import averaged, gather
from msd_lab.toy.problems import TABLE1, Problem


def twice(value, progress):
    return {"nll": 2.0 * value}, 7


def test_seeds_become_a_mean_and_a_deviation_beside_the_papers_figure():
    (found,) = averaged(TABLE1[0], "MSD", [({"nll": -2.0}, 16), ({"nll": -1.0}, 16)])
    assert (found.mean, found.std, found.seeds, found.nfe) == (-1.5, pytest.approx(math.sqrt(0.5)), 2, 16)
    assert found.paper == -1.32 and found.problem == TABLE1[0]


@pytest.mark.parametrize("values", [[3.0], [math.inf, math.inf], [1.0, math.inf]])
def test_a_single_or_infinite_figure_has_no_deviation(values):
    (found,) = averaged(Problem("rings"), "MSD", [({"efficiency": value}, 1) for value in values])
    assert found.std is None and found.mean == max(values)


def test_jobs_are_gathered_by_row_and_saved_as_they_end():
    a, b = Problem("rings"), Problem("moons")
    work = [(p, "MSD", Job(f"{p} {v}", twice, (v,))) for p, v in ((a, 1.0), (a, 2.0), (b, 5.0))]
    saved = []
    found = gather(work, "test", saved.append)
    assert [(f.density, f.mean, f.seeds) for f in found] == [("rings", 3.0, 2), ("moons", 10.0, 1)]
    assert [len(s) for s in saved] == [1, 1, 2] and saved[-1] == found
