import pytest
import torch
from msd_lab.toy.densities import fractal
from msd_lab.toy.learned import DensityNetwork
from msd_lab.toy.metrics import modes, nll
from msd_lab.toy.optimise import OnlinePhi, distil, run_method, starting_points
from msd_lab.toy.problems import METHODS, SCHEDULE, Problem
from threestudio_msd.distillation import (
    MSD,
    SDI,
    SDS,
    VSD,
    Adaptive,
    Linear,
    NonFiniteError,
    PlainPrior,
    Posterior,
    SharedNoise,
    Tweedie,
)


def test_msd_reaches_the_modes(density, prior):
    moved = distil(density.grid(8), MSD(Tweedie(), Linear(0.3, 0.1)), prior, SharedNoise(0))
    distance = torch.cdist(moved.points, modes(density)).amin(1)
    assert float(distance.max()) < 0.02
    assert moved.nfe == 150


def test_msd_ends_on_the_fractal_where_sds_does_not():
    tree = fractal()
    prior = PlainPrior(tree.denoise, SCHEDULE)
    ends = {
        name: distil(tree.grid(8), METHODS[name].make(), prior, SharedNoise(0), steps=60).points
        for name in ("SDS", "MSD")
    }
    assert nll(ends["MSD"], tree) < -1.85 < 0 < nll(ends["SDS"], tree)


def test_same_seed_same_points(density, prior):
    ends = [
        distil(density.grid(4), MSD(Posterior(steps=4)), prior, SharedNoise(3), steps=5).points
        for _ in range(2)
    ]
    assert torch.equal(*ends)


@pytest.mark.parametrize(("estimator", "nfe"), [(SDS(), 7), (SDI(), 45), (MSD(), 112)])
def test_evaluations_and_paths_are_counted(density, prior, estimator, nfe):
    moved = distil(density.grid(3), estimator, prior, SharedNoise(0), steps=7, record_every=3)
    assert moved.path.shape == (4, 9, 2)  # start, after 3, after 6, last
    assert torch.equal(moved.path[-1], moved.points) and torch.equal(moved.path[0], density.grid(3))
    assert moved.nfe == nfe


def test_adaptive_is_told_of_the_shift(density, prior):
    levels = []

    class Watched(Adaptive):
        def step(self, state, shift):
            levels.append(float(state["lam"].max()))
            return super().step(state, shift)

    distil(density.grid(3), MSD(Tweedie(), Watched(0.5, 0.01, patience=2)), prior, SharedNoise(0), steps=6)
    assert levels[0] == 0.5 and levels[-1] < 0.5


def test_vsd_trains_a_copy_of_the_network(density, prior):
    network = DensityNetwork(8)
    before = [parameter.clone() for parameter in network.parameters()]
    phi = OnlinePhi(network)
    distil(density.grid(3), VSD(phi.denoise), prior, SharedNoise(0), steps=3, phi=phi)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(before, phi.network.parameters(), strict=True))


def test_a_gradient_that_is_not_finite_stops_with_its_step(density):
    prior = PlainPrior(lambda z, sigma: z / 0, SCHEDULE)
    with pytest.raises(NonFiniteError, match="gradient at step 0"):
        distil(density.grid(2), SDS(), prior, SharedNoise(0), steps=3)


def test_samples_lie_on_the_density(tiny):
    problem = Problem("8gaussians")
    points = run_method(problem, METHODS["DDIM"], 0, tiny).points
    distance = torch.cdist(points, problem.target().means).amin(1)
    assert points.shape == (36, 2) and float(distance.max()) < 4 * 0.0875


def test_vsd_moves_points_and_counts_its_phi(tiny):
    moved = run_method(Problem("8gaussians"), METHODS["VSD"], 0, tiny, record_every=2)
    assert moved.path.shape == (3, 36, 2) and moved.nfe == 2 * tiny.steps
    assert not torch.equal(moved.points, moved.path[0])


def test_a_start_is_a_grid_about_the_views_centre_or_normal():
    density = fractal()
    grid, wide, normal = (starting_points(density, 8, start) for start in (None, 2.0, 0.0))
    torch.testing.assert_close(wide.mean(0), grid.mean(0))
    torch.testing.assert_close(wide.std(0), 2 * grid.std(0))
    assert normal.shape == grid.shape and not torch.allclose(normal, grid)
