import pytest
from msd_lab.toy.paper import PUBLISHED
from msd_lab.toy.problems import TABLE1, TABLE2, TABLE3, Problem


def test_every_published_figure_belongs_to_a_column():
    assert {problem for problem, _, _ in PUBLISHED} == {*TABLE1, *TABLE2, *TABLE3}


@pytest.mark.parametrize(
    ("problem", "method", "metric", "figure"),
    [
        (Problem("fractal", "learned", "cfg"), "SDI", "recall", 0.48),
        (Problem("fractal", "learned", "autoguidance"), "DDIM", "precision", 0.96),
        (Problem("pinwheel"), "SDI", "recall", 0.001),
        (Problem("pinwheel", "learned"), "MSD", "nll", -2.19),
        (Problem("spiral", "learned"), "MSD split", "efficiency", 6.32),
    ],
)
def test_figures_are_read_into_their_places(problem, method, metric, figure):
    assert PUBLISHED[problem, method, metric] == figure
