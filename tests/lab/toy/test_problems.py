import pytest
import torch
from msd_lab.toy.learned import Training
from msd_lab.toy.problems import METHODS, PUBLISHED1, PUBLISHED2, PUBLISHED3, TABLE1, Problem


def test_problems_name_the_networks_they_need():
    widths = [
        (density.name, how.width, how.steps)
        for density, how in Problem("fractal", "learned", "cfg").networks(Training())
    ]
    assert widths == [("fractal", 64, 4096), ("fractal-both", 32, 512)]
    assert str(Problem("fractal", "learned", "cfg")) == "fractal, learned + cfg"


@pytest.mark.parametrize(("problem", "scale"), zip(TABLE1, (1.0, 1.0, 4.0, 3.0), strict=True))
def test_a_guided_problem_has_the_published_weight(problem, scale, tiny):
    prior, _ = problem.prior(tiny.training)
    assert prior.scale == scale
    z = problem.target().grid(2)
    plain = prior.at(1.0)(z, torch.tensor(0.5))
    assert torch.equal(prior.denoiser(z, torch.tensor(0.5)), plain) == (scale == 1.0)


def test_the_ideal_problem_is_the_density_itself(tiny):
    problem = Problem("rings")
    prior, _ = problem.prior(tiny.training)
    z = problem.target().grid(3)
    assert torch.equal(prior.denoiser(z, torch.tensor(0.3)), problem.target().denoise(z, 0.3))


def test_every_method_of_ours_has_the_same_bandwidth_to_end_at():
    ours = [METHODS[name].make() for name in METHODS if name.startswith("MSD")]
    assert {estimator.bandwidth.end for estimator in ours} == {0.03}


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
    assert (PUBLISHED1 | PUBLISHED2 | PUBLISHED3)[problem, method, metric] == figure
