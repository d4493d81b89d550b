"""Mean-shift distillation: zero at modes, and the gradient of the smoothed log-density."""

from __future__ import annotations

import pytest
import torch
from mixtures import exact_prior, triangle
from threestudio_msd.distillation import (
    MSD,
    SDS,
    Constant,
    Posterior,
    SharedNoise,
    Split,
    Tweedie,
)

Y = torch.tensor([[0.2, 0.1], [0.5, 0.5], [-0.3, -0.2], [0.9, 0.1]])


def constant(lam: float) -> Constant:
    return Constant(lam, lam)


@pytest.mark.parametrize("sampler", [Tweedie(), Posterior(16), Split(64)])
def test_msd_is_zero_at_modes(sampler):
    """At an isolated mode of p_lambda the mean shift vanishes, to the spread of a product sample over many
    draws.
    """
    mixture, draws = triangle(0.05), 2000
    modes = mixture.means.repeat_interleave(draws, 0)
    estimate = MSD(sampler, constant(0.1))(modes, exact_prior(mixture), SharedNoise(0), 0.0)
    mean = estimate.gradient.unflatten(0, (3, draws)).mean(1)
    assert mean.norm(dim=1).max() < 0.01


def test_msd_is_the_gradient_of_the_smoothed_log_density():
    """m = lambda^2 grad log p_lambda (Eq. 6), by automatic differentiation."""
    mixture, lam = triangle(0.1), 0.4
    y = Y.clone().requires_grad_()
    (score,) = torch.autograd.grad(mixture.log_density(y, lam).sum(), y)
    estimate = MSD(Tweedie(), constant(lam))(Y, exact_prior(mixture), SharedNoise(0), 0.0)
    assert torch.allclose(-estimate.gradient, lam**2 * score, atol=1e-5)


def test_more_draws_have_less_variance_and_the_same_mean():
    prior, draws = exact_prior(triangle()), 3000
    y = Y[:1].expand(draws, 2)
    one = MSD(Posterior(8), constant(0.5), draws_per_estimate=1)(y, prior, SharedNoise(0), 0.0)
    four = MSD(Posterior(8), constant(0.5), draws_per_estimate=4)(y, prior, SharedNoise(1), 0.0)
    assert four.nfe == 4 * one.nfe
    assert four.gradient.var(0).sum() == pytest.approx(float(one.gradient.var(0).sum()) / 4, rel=0.15)
    assert torch.allclose(four.gradient.mean(0), one.gradient.mean(0), atol=0.05)


def test_ascent_of_msd_ends_in_a_mode_and_of_sds_does_not():
    """The paper's story on three modes: fixed-point iteration of x' lands on modes; SDS's mean pull ends
    between them.
    """
    mixture = triangle(0.05)
    prior = exact_prior(mixture)
    msd, y = MSD(Posterior(8), constant(0.2)), Y
    for step in range(40):
        y = y - 0.5 * msd(y, prior, SharedNoise(step), 0.0).gradient
    assert torch.cdist(y, mixture.means).min(1).values.max() < 0.15

    sds, z = SDS(), Y.clone()
    for step in range(300):
        gradient = sds(z[:, None].expand(-1, 64, -1).reshape(-1, 2), prior, SharedNoise(step), 0.0).gradient
        z = z - 0.2 * gradient.unflatten(0, (4, 64)).mean(1)
    assert torch.cdist(z, mixture.means).min(1).values.max() > 0.3


@pytest.mark.parametrize("bad", [0, 1.5, True, "many"])
def test_draws_are_counted_in_whole_numbers(bad):
    with pytest.raises(ValueError, match="draws_per_estimate: expected an integer of at least 1"):
        MSD(draws_per_estimate=bad)
