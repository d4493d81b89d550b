import pytest
from msd_lab.toy import scan
from msd_lab.toy.experiment import Outcome, averaged
from msd_lab.toy.problems import Problem

NEAR = {"nll": -1.1, "precision": 0.95, "recall": 0.4, "mmd": 9.0}  # the paper's MSD: -1.32, .92, .33


def rows(set_up, figures):
    return averaged(Problem("fractal"), set_up, [Outcome(figures, 1)], {})


def test_a_set_up_is_as_near_as_its_farthest_figure():
    near, far = (scan.set_up_name("MSD", 1.0, lr, 0.5) for lr in (0.1, 0.01))
    found = [*rows(near, NEAR), *rows(far, NEAR | {"recall": 0.1})]
    missed = scan.misses(found)
    assert missed[near] == pytest.approx(0.22 / 0.3)
    assert missed[far] == pytest.approx(2.3)
    assert scan.nearest([far, near], found) == [near]
    assert "reproduces it (2 set-ups)" in scan.verdict(near, [far, near], missed[near])
    assert "misses by 2.3" in scan.verdict(far, [far], missed[far])


def test_a_large_nll_has_to_be_near_by_a_tenth():
    set_up = scan.set_up_name("SDS", 1.0, 0.1, None)  # the paper's: 36.15, 0.08, 0.03
    missed = scan.misses(rows(set_up, {"nll": 34.0, "precision": 0.08, "recall": 0.03}))
    assert missed[set_up] == pytest.approx(2.15 / 3.615)
