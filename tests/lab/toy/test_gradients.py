import pytest
import torch
from msd_lab.toy.gradients import estimator_at, gradient_draws, mean_field
from msd_lab.toy.learned import DensityNetwork
from msd_lab.toy.problems import Problem
from threestudio_msd.distillation import MSD, VSD, Constant, Posterior, SharedNoise, Tweedie


def test_draws_are_laid_by_point_and_independent(density, prior, monkeypatch):
    monkeypatch.setattr("msd_lab.toy.gradients.ROWS", 100)  # several batches
    y = density.grid(5)
    told = []
    estimator = MSD(Posterior(steps=2), Constant(0.3, 0.3))
    draws, nfe = gradient_draws(estimator, y, prior, SharedNoise(0), 9, lambda *of: told.append(of))
    assert draws.shape == (9, 25, 2) and nfe == 2 and told == [(4, 9), (8, 9), (9, 9)]
    assert len(draws[:, 0].unique(dim=0)) == 9
    exact, _ = gradient_draws(MSD(Tweedie(), Constant(0.3, 0.3)), y, prior, SharedNoise(0), 2)
    assert torch.equal(exact[0].float(), y - density.denoise(y, 0.3))


def test_an_estimator_halfway_has_a_trained_phi(density, tiny):
    network, y = DensityNetwork(8), density.grid(3)
    estimator = estimator_at(VSD, network, y, SharedNoise(0), tiny)
    assert not torch.allclose(estimator.phi(y, 0.5), network.denoise(y, 0.5), atol=0, rtol=0)
    assert isinstance(estimator_at(MSD, None, y, SharedNoise(0), tiny), MSD)


def test_the_mean_field_points_to_the_density(tiny):
    problem = Problem("8gaussians")
    field, nfe = mean_field(problem, "MSD", 0.5, 6, tiny, lambda *of: None)
    y = problem.target().grid(6)
    exact = y - problem.target().denoise(y, 0.1225)
    cosine = torch.nn.functional.cosine_similarity(field, exact.double(), dim=1)
    assert nfe == 16 and float(cosine.median()) == pytest.approx(1, abs=0.05)
