import math
from dataclasses import replace

import pytest
import torch
from msd_lab.toy.densities import fractal
from msd_lab.toy.gradients import (
    BANDWIDTHS,
    bias,
    estimator_at,
    gradient_draws,
    gradient_efficiency,
    mean_field,
    oracle_efficiency,
    potential,
    sampler_bias,
)
from msd_lab.toy.learned import DensityNetwork
from msd_lab.toy.problems import Problem
from threestudio_msd.distillation import (
    MSD,
    VSD,
    Constant,
    ExactScore,
    Posterior,
    SharedNoise,
    Split,
    Tweedie,
)
from threestudio_msd.distillation.efficiency import efficiency

AXIS = torch.linspace(-1, 1, 40, dtype=torch.float64)
Y, X = torch.meshgrid(AXIS, AXIS, indexing="ij")
SPACING = (float(AXIS[1] - AXIS[0]),) * 2


def test_draws_are_laid_by_point_and_independent(density, prior, monkeypatch):
    monkeypatch.setattr("msd_lab.toy.gradients.ROWS", 100)  # several batches
    y = density.grid(5)
    calls = []
    estimator = MSD(Posterior(steps=2), Constant(0.3, 0.3))
    draws, nfe = gradient_draws(estimator, y, prior, SharedNoise(0), 9, lambda *of: calls.append(of))
    assert draws.shape == (9, 25, 2) and nfe == 2 and calls == [(4, 9), (8, 9), (9, 9)]
    assert len(draws[:, 0].unique(dim=0)) == 9
    exact, _ = gradient_draws(MSD(Tweedie(), Constant(0.3, 0.3)), y, prior, SharedNoise(0), 2)
    assert torch.equal(exact[0].float(), y - density.denoise(y, 0.3))


def test_an_estimator_halfway_has_a_trained_phi(density, tiny):
    network, y = DensityNetwork(8), density.grid(3)
    estimator = estimator_at(VSD, network, y, SharedNoise(0), tiny)
    assert not torch.allclose(estimator.phi(y, 0.5), network.denoise(y, 0.5), atol=0, rtol=0)
    assert isinstance(estimator_at(MSD, network, y, SharedNoise(0), tiny), MSD)


def test_the_mean_field_points_to_the_density(tiny):
    problem = Problem("8gaussians")
    field, nfe = mean_field(problem, "MSD", 0.5, 0, 6, tiny, lambda *of: None)
    y = problem.target().grid(6)
    exact = y - problem.target().denoise(y, 0.1225)
    cosine = torch.nn.functional.cosine_similarity(field, exact.double(), dim=1)
    assert nfe == 16 and float(cosine.median()) == pytest.approx(1, abs=0.05)


def known(scale, noise, draws=4000):
    """Draws of `scale` times an exact gradient with noise of a known deviation; and the gradient."""
    generator = torch.Generator().manual_seed(0)
    exact = torch.randn(9, 2, generator=generator)
    return scale * (exact + noise * torch.randn(draws, 9, 2, generator=generator)), exact


def test_efficiency_of_a_known_estimator():
    """The exact gradient with noise of a known variance; neither efficiency depends on its scale."""
    g, exact = known(3.0, 0.1)
    signal = float(exact.square().sum(1).mean())
    assert efficiency(g, 2) == pytest.approx(math.log(signal / (2 * 0.01 * 2)), abs=0.05)
    # the best scale shrinks: error = S N / (S + N) for a signal S and a noise N
    assert oracle_efficiency(g, exact, 2) == pytest.approx(math.log((signal + 0.02) / (0.02 * 2)), abs=0.05)


def test_without_noise_or_signal_an_efficiency_is_infinite():
    g, _ = known(1.0, 0.0, draws=2)
    assert efficiency(g, 1) == math.inf
    noise = torch.randn(2, 9, 2, generator=torch.Generator().manual_seed(1))
    assert efficiency(noise - noise.mean(0), 1) == -math.inf


def test_a_deterministic_exact_estimator_is_infinitely_efficient(tiny):
    found, nfe, _ = gradient_efficiency(Problem("fractal"), "MSD tweedie", 0, tiny, lambda *of: None)
    assert nfe == 1 and found["efficiency"] == math.inf == found["efficiency over the view"]
    assert found["oracle efficiency"] > 15 and found["oracle efficiency over the view"] > 15


def test_the_oracle_has_no_bias_and_no_spread(tiny):
    found, nfe = bias(fractal(), Tweedie(), 0.2, SharedNoise(0), tiny)
    assert nfe == 1 and max(found.values()) < 1e-6


def test_the_posterior_samplers_bias_is_within_the_draws_resolution_and_splits_is_not(tiny):
    scale = replace(tiny, draws=400, places=6)
    exact, _ = bias(fractal(), Posterior(steps=8), 0.5, SharedNoise(0), scale)
    paper, _ = bias(fractal(), Split(steps=8), 0.5, SharedNoise(0), scale)
    assert exact["bias"] < 2 * exact["resolution"] < 0.1
    assert 0.2 < paper["bias"] < 0.7 and paper["spread"] < 0.05


def test_the_exact_scores_bias_is_within_the_draws_resolution(tiny):
    scale = replace(tiny, draws=400, places=6)
    found, nfe = bias(fractal(), ExactScore(steps=8), 0.5, SharedNoise(0), scale)
    assert nfe == 8 and found["bias"] < 2 * found["resolution"] < 0.1


def test_every_bandwidth_is_measured(tiny):
    calls = []
    row = ("posterior", 4)
    found, nfe, _ = sampler_bias(Problem("fractal"), row, 0, tiny, lambda *of: calls.append(of))
    assert nfe == 4 and calls[-1] == (5, 5) and len(found) == 3 * len(BANDWIDTHS)
    assert 0.3 < found["spread at 0.1"] < 3


@pytest.mark.slow
def test_the_posterior_sampler_is_within_three_percent_at_sixteen_steps(tiny):
    scale = replace(tiny, draws=1024, places=8)
    found, *_ = sampler_bias(Problem("fractal"), ("posterior", 16), 0, scale, lambda *of: None)
    assert max(found[f"bias at {lam:g}"] for lam in BANDWIDTHS) < 0.03


def test_the_potential_of_a_gradient_field_is_its_loss():
    loss, curl = potential(torch.stack([2 * X + Y, X - 3 * Y**2], -1), SPACING)
    truth = X**2 + X * Y - Y**3
    assert curl < 1e-3
    assert torch.allclose(loss, truth - truth.mean(), atol=5e-3)


def test_no_loss_explains_a_rotation():
    _, curl = potential(torch.stack([-Y, X], -1), SPACING)
    assert curl > 0.6


def test_no_field_has_no_loss():
    loss, curl = potential(torch.zeros(5, 4, 2), (0.1, 0.2))
    assert curl == 0 and not bool(loss.any())
