"""What all estimators promise: a target that agrees with the gradient, honest counts, samples that do not
meet.
"""

from __future__ import annotations

import pytest
import torch
from mixtures import Mixture, exact_prior, triangle
from threestudio_msd.distillation import (
    CSD,
    ISM,
    MSD,
    SDI,
    SDS,
    VSD,
    ExactScore,
    Posterior,
    SampleNoise,
    Split,
    Tweedie,
)

Y = torch.tensor([[0.2, 0.1], [0.5, 0.5], [-0.3, -0.2], [0.9, 0.1]])
ESTIMATORS = [
    MSD(Posterior(4)),
    MSD(Split(4), draws_per_estimate=2),
    SDS(),
    SDI(),
    CSD(),
    ISM(),
    VSD(triangle(0.3)),
]


class Counted:
    """A mixture that counts the rows it is asked for."""

    def __init__(self) -> None:
        self.mixture, self.evaluations = triangle(), 0

    def __call__(self, z: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        self.evaluations += len(z)
        return self.mixture(z, sigma)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_target_and_gradient_agree(estimator):
    estimate = estimator(Y, exact_prior(triangle()), SampleNoise(range(4)), 0.5)
    assert torch.allclose(estimate.target, Y - estimate.gradient, atol=1e-6)


@pytest.mark.parametrize(
    "estimator", [MSD(Posterior(4)), MSD(Split(4), draws_per_estimate=2), SDS(), SDI(), ISM()]
)
def test_nfe_is_what_the_denoiser_counts(estimator):
    counted = Counted()
    estimate = estimator(Y, exact_prior(counted), SampleNoise(range(4)), 0.5)
    assert counted.evaluations == estimate.nfe * len(Y)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_sample_does_not_depend_on_its_batch(estimator):
    prior = exact_prior(triangle())
    whole = estimator(Y, prior, SampleNoise([5, 6, 7, 8]), 0.5).gradient
    part = estimator(Y[1:2], prior, SampleNoise([6]), 0.5).gradient
    assert torch.allclose(whole[1:2], part, atol=1e-5)


@pytest.mark.parametrize(
    "estimator", [*ESTIMATORS, MSD(Split(4, centre="inversion")), MSD(ExactScore(4)), MSD(Tweedie())]
)
def test_renders_and_networks_that_need_gradients_keep_no_graph(estimator):
    trained = Mixture(triangle().means.requires_grad_(), 0.3)
    y, prior = Y.clone().requires_grad_(), exact_prior(trained)
    with torch.autograd.graph.saved_tensors_hooks(pytest.fail, lambda packed: packed):
        estimate = estimator(y, prior, SampleNoise(range(4)), 0.5)
    assert torch.equal(estimate.gradient, estimator(Y, prior, SampleNoise(range(4)), 0.5).gradient)
    assert torch.is_grad_enabled() and not estimate.target.requires_grad


@pytest.mark.parametrize("sampler", [Split(4), Posterior(4), ExactScore(4), Tweedie()])
def test_draws_keep_no_graph(sampler):
    drawn = sampler(Y.clone().requires_grad_(), 0.5, exact_prior(triangle()), SampleNoise(range(4)))
    assert not drawn.x.requires_grad
