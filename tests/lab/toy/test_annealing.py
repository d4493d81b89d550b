import math

import pytest
from msd_lab.toy import annealing
from msd_lab.toy.experiment import Outcome, averaged
from msd_lab.toy.problems import Problem


def test_the_tree_has_modes_at_every_scale():
    tree = annealing.nested(2)
    assert len(tree) == 8 and float(tree.weights.max()) == pytest.approx(0.7**3)
    gaps = (tree.means[:, None] - tree.means).norm(dim=2)
    assert gaps[gaps > 0].min() == 4 and gaps.max() >= 4 * annealing.RATIO**2


def test_a_falling_bandwidth_finds_the_highest_mode_and_a_constant_one_never_does():
    tree = annealing.nested(1)
    assert annealing.least_steps(tree, annealing.schedule("exponential", 4)) < 20
    assert annealing.least_steps(tree, annealing.schedule("adaptive", 4)) < 20
    assert annealing.arrived(annealing.shifted(tree, annealing.schedule("constant", 4), 50)[0], tree) < 0.5


def test_a_law_is_recovered():
    metric = "steps to the highest mode at K = "
    steps = {
        "exponential": [(4, 3 + 2 * math.log(4)), (16, 3 + 2 * math.log(16)), (64, 3 + 2 * math.log(64))],
        "constant, one draw a step": [
            (2, math.exp(1 + 0.1 * 4)),
            (3, math.exp(1 + 0.1 * 9)),
            (4, math.exp(2.6)),
        ],
        "constant": [(4, math.inf), (16, math.inf)],
    }
    found = [
        one
        for method, points in steps.items()
        for one in averaged(
            Problem("nested"), method, [Outcome({f"{metric}{k}": s for k, s in points}, 1)], {}
        )
    ]
    laws = annealing.laws(found)
    assert set(laws) == {"exponential", "constant, one draw a step"}
    assert laws["exponential"] == pytest.approx((3, 2, 0), abs=1e-6)
    assert laws["constant, one draw a step"] == pytest.approx((1, 0.1, 0), abs=1e-6)
    assert annealing.equation("exponential", 3, 2) == "steps = 3.0 + 2 ln K"
