"""The estimators: zero at modes, aligned with the density's gradient, and the published formulas."""

from __future__ import annotations

import pytest
import torch
from mixtures import Mixture, exact_prior, triangle
from threestudio_msd.distillation import (
    MSD,
    SDI,
    SDS,
    VSD,
    Constant,
    Posterior,
    Prior,
    SampleNoise,
    SharedNoise,
    Split,
    TableSchedule,
    Tweedie,
    expand,
    sds_weight,
)

Y = torch.tensor([[0.2, 0.1], [0.5, 0.5], [-0.3, -0.2], [0.9, 0.1]])


def constant(lam: float) -> Constant:
    return Constant(lam, lam)


@pytest.mark.parametrize("sampler", [Tweedie(), Posterior(16), Split(64)])
def test_msd_is_zero_at_modes(sampler):
    """At an isolated mode of p_lambda the mean shift vanishes, to the spread of a product sample over many draws."""
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


def test_more_samples_have_less_variance_and_the_same_mean():
    prior, draws = exact_prior(triangle()), 3000
    y = Y[:1].expand(draws, 2)
    one = MSD(Posterior(8), constant(0.5), samples=1)(y, prior, SharedNoise(0), 0.0)
    four = MSD(Posterior(8), constant(0.5), samples=4)(y, prior, SharedNoise(1), 0.0)
    assert four.calls == 4 * one.calls
    assert four.gradient.var(0).sum() == pytest.approx(float(one.gradient.var(0).sum()) / 4, rel=0.15)
    assert torch.allclose(four.gradient.mean(0), one.gradient.mean(0), atol=0.05)


def test_ascent_of_msd_ends_in_a_mode_and_of_sds_does_not():
    """The paper's story on three modes: fixed-point iteration of x' lands on modes; SDS's mean pull ends between them."""
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


def test_sds_is_poole_et_al():
    """g = w (eps_hat - n), written out in variance-preserving form."""
    abar = torch.linspace(0.999, 0.01, 1000)
    mixture = triangle()
    prior = Prior(mixture, TableSchedule.from_alphas_cumprod(abar))
    estimate = SDS()(Y, prior, SampleNoise(range(4)), 0.0)
    noise = SampleNoise(range(4))
    noise(Y[:, :1])  # the draw of t
    n, sigma = noise(Y), estimate.sigma
    a = expand(1 / (1 + sigma**2), Y)
    z_vp = a.sqrt() * Y + (1 - a).sqrt() * n
    eps_hat = (z_vp - a.sqrt() * mixture(z_vp / a.sqrt(), sigma)) / (1 - a).sqrt()
    assert torch.allclose(estimate.gradient, (1 - a) * (eps_hat - n), atol=1e-4)
    assert torch.allclose(sds_weight(sigma), (1 - a)[:, 0], atol=1e-6)


def test_vsd_vanishes_when_phi_is_the_prior_and_needs_a_phi():
    mixture = triangle()
    prior = Prior(mixture, exact_prior(mixture).schedule, phi=mixture)
    assert VSD()(Y, prior, SharedNoise(0), 0.0).gradient.abs().max() == 0
    with pytest.raises(ValueError, match="phi"):
        VSD()(Y, exact_prior(mixture), SharedNoise(0), 0.0)


def test_vsd_with_a_point_mass_as_phi_is_sds():
    """SDS is VSD with the renders' distribution taken for points: eps_phi = n."""
    mixture, y = triangle(), Y
    prior = Prior(mixture, exact_prior(mixture).schedule, phi=lambda z, sigma: y)
    vsd = VSD()(y, prior, SampleNoise(range(4)), 0.0).gradient
    sds = SDS()(y, prior, SampleNoise(range(4)), 0.0).gradient
    assert torch.allclose(vsd, sds, atol=1e-6)


def test_sdi_of_a_single_gaussian_finds_its_own_noise():
    """For one Gaussian the ODE keeps z's place in units of its spread, so the inversion denoises to y but for step error."""
    mixture = Mixture(torch.zeros(1, 2), 1.0)
    abar = torch.linspace(0.9999, 0.01, 1000)
    prior = Prior(mixture, TableSchedule.from_alphas_cumprod(abar))
    y = torch.tensor([[0.6, -0.4]])
    errors = []
    for steps in (10, 100):
        estimate = SDI(steps=steps, eta=0.0)(y, prior, SampleNoise([0]), 1.0 - 0.3)
        errors.append(float((estimate.denoised * (1 + estimate.sigma**2).sqrt() - y).norm()))
    assert errors[1] < 0.3 * errors[0]
    assert errors[1] < 0.02


@pytest.mark.parametrize("estimator", [MSD(Posterior(4)), MSD(Split(4), samples=2), SDS(), SDI()])
def test_target_gradient_and_calls_agree(estimator):
    calls = 0

    def denoiser(z, sigma):
        nonlocal calls
        calls += z.shape[0]
        return mixture(z, sigma)

    mixture = triangle()
    estimate = estimator(Y, Prior(denoiser, exact_prior(mixture).schedule), SampleNoise(range(4)), 0.5)
    assert torch.allclose(estimate.target, Y - estimate.gradient, atol=1e-6)
    assert calls == estimate.calls * len(Y)


@pytest.mark.parametrize("estimator", [MSD(Posterior(4)), MSD(Split(4)), SDS(), SDI()])
def test_a_sample_does_not_depend_on_its_batch(estimator):
    prior = exact_prior(triangle())
    whole = estimator(Y, prior, SampleNoise([5, 6, 7, 8]), 0.5).gradient
    part = estimator(Y[1:2], prior, SampleNoise([6]), 0.5).gradient
    assert torch.allclose(whole[1:2], part, atol=1e-5)
