"""Product samplers against the exact oracle: E[x] under the product density is D(y, lambda)."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mixtures import Mixture, exact_prior, triangle
from msd_lab.toy.densities import GaussianMixture, mixture
from threestudio_msd.distillation import (
    ExactScore,
    Posterior,
    ProductDenoiser,
    SampleNoise,
    SharedNoise,
    Split,
    Tweedie,
    kernel_step,
)
from threestudio_msd.distillation.solvers import SOLVERS

Y = torch.tensor([[0.2, 0.1], [0.5, 0.5], [-0.3, -0.2], [0.9, 0.1]])


@pytest.mark.parametrize("lam", [0.05, 0.3, 1.0, 3.0])
def test_oracle_identity_against_numerical_integration(lam):
    """x' = D(y, lambda): the product density's mean, integrated on a fine grid, is what Tweedie returns."""
    mixture = triangle(0.2)
    axis = torch.linspace(-4, 4, 801, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    log_p = mixture.log_density(grid.float()).double()
    for y in Y.double():
        weights = (log_p - (grid - y).square().sum(1) / (2 * lam**2)).softmax(0)
        mean = (weights[:, None] * grid).sum(0)
        product = Tweedie()(y[None].float(), lam, exact_prior(mixture), SharedNoise(0))
        assert torch.allclose(product.x[0].double(), mean, atol=2e-4)


@pytest.mark.parametrize("lam", [0.1, 0.3, 1.0])
def test_posterior_is_unbiased_within_monte_carlo_error(lam):
    prior, draws = exact_prior(triangle(0.2)), 4000
    y = Y.repeat_interleave(draws, 0)
    x = Posterior(steps=64)(y, lam, prior, SharedNoise(0)).x.unflatten(0, (len(Y), draws))
    exact = Tweedie()(Y, lam, prior, SharedNoise(0)).x
    error = (x.mean(1) - exact).abs()
    standard_error = x.std(1) / math.sqrt(draws)
    # four standard errors, and what 64 steps leave of the discretisation
    assert (error < 4 * standard_error + 0.01 * lam).all()


def test_posterior_has_the_products_spread():
    """Not only its mean: the variance of a product of two Gaussians is 1 / (1/s^2 + 1/lambda^2)."""
    mixture = Mixture(torch.zeros(1, 2), 0.5)
    y = torch.full((20000, 2), 0.3)
    x = Posterior(steps=32)(y, 0.4, exact_prior(mixture), SharedNoise(0)).x
    variance = 1 / (1 / 0.5**2 + 1 / 0.4**2)
    assert x.mean(0).tolist() == pytest.approx([0.3 * variance / 0.4**2] * 2, abs=0.01)
    assert x.var(0).tolist() == pytest.approx([variance] * 2, rel=0.05)


def test_started_from_noise_a_posterior_has_the_spread_of_its_start_as_well():
    """Of a Gaussian: x | y + lambda n has the product's variance, and its mean moves with n."""
    s, lam = 0.5, 0.4
    y = torch.full((20000, 2), 0.3)
    prior = exact_prior(Mixture(torch.zeros(1, 2), s))
    x = Posterior(steps=32, start="noise")(y, lam, prior, SharedNoise(0)).x
    gain = s**2 / (s**2 + lam**2)
    assert x.mean(0).tolist() == pytest.approx([0.3 * gain] * 2, abs=0.01)
    assert x.var(0).tolist() == pytest.approx([gain * lam**2 + (gain * lam) ** 2] * 2, rel=0.05)


def test_tweedie_from_noise_is_sds_denoised_image_at_lambda_and_one_evaluation():
    prior, lam = exact_prior(triangle(0.2)), torch.tensor(0.7)
    product = Tweedie(start="noise")(Y, lam, prior, SharedNoise(3))
    assert torch.equal(product.x, prior.denoiser(Y + lam * SharedNoise(3)(Y), lam))
    assert product.nfe == 1
    plain = exact_prior(Mixture(torch.zeros(1, 2), 0.5))  # whose denoiser is linear: no bias over many n
    y = Y.repeat_interleave(20000, 0)
    means = Tweedie(start="noise")(y, lam, plain, SharedNoise(0)).x.unflatten(0, (len(Y), 20000)).mean(1)
    assert torch.allclose(means, Tweedie()(Y, lam, plain, SharedNoise(0)).x, atol=0.01)


def test_second_order_has_less_bias_than_first():
    prior, draws = exact_prior(triangle()), 4000
    y = Y.repeat_interleave(draws, 0)
    exact = Tweedie()(Y, 1.0, prior, SharedNoise(0)).x
    bias = {
        order: (
            Posterior(steps=8, order=order)(y, 1.0, prior, SharedNoise(0)).x.unflatten(0, (4, draws)).mean(1)
            - exact
        ).norm()
        for order in (1, 2)
    }
    assert bias[2] < 0.7 * bias[1]


@settings(max_examples=30, deadline=None)
@given(
    lam=st.floats(0.05, 5.0),
    high=st.floats(0.5, 20.0),
    fraction=st.floats(0.0, 0.95),
)
def test_kernel_step_equals_a_fine_integration_of_its_ode(lam, high, fraction):
    """dz/dsigma = sigma (z - c) / lambda^2, the kernel's part of the ODE (Eq. 14), by 4000 midpoint steps."""
    low = max(
        high * fraction, math.sqrt(max(high**2 - 40 * lam**2, 0.0))
    )  # beyond, both are zero to rounding
    z, centre = (
        torch.tensor([[2.0, -1.0]], dtype=torch.float64),
        torch.tensor([[0.5, 0.25]], dtype=torch.float64),
    )
    offset, edges = z - centre, torch.linspace(high, low, 4001, dtype=torch.float64)
    for s0, s1 in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        middle, h = (s0 + s1) / 2, s1 - s0
        offset = offset + h * middle / lam**2 * (offset + h / 2 * s0 / lam**2 * offset)
    exact = kernel_step(z, centre, lam, torch.tensor(high).double(), torch.tensor(low).double())
    assert torch.allclose(centre + offset, exact, rtol=1e-3, atol=1e-5)


def rotated_mixture(dim: int) -> GaussianMixture:
    """Six Gaussians of unequal widths along rotated axes, in any dimension."""
    generator = torch.Generator().manual_seed(dim)
    means = torch.randn(6, dim, generator=generator)
    axes = torch.linalg.qr(torch.randn(6, dim, dim, generator=generator)).Q
    widths = 0.05 + 0.3 * torch.rand(6, dim, generator=generator)
    return mixture(means, axes @ torch.diag_embed(widths.square()) @ axes.mT)


@pytest.mark.parametrize("dim", [2, 6])
@settings(max_examples=15, deadline=None)
@given(lam=st.floats(0.05, 3.0), sigma=st.floats(0.02, 5.0), seed=st.integers(0, 1000))
def test_the_products_denoiser_is_that_of_the_product_density(dim, lam, sigma, seed):
    """Against the product itself: times N(x; y, lambda^2), every component is a Gaussian again."""
    density = rotated_mixture(dim)
    generator = torch.Generator().manual_seed(seed)
    x = density.sample(4, generator)
    y, z = (x + level * torch.randn(4, dim, generator=generator) for level in (lam, sigma))
    for row in range(len(y)):
        exact = product_mixture(density, y[row], lam).denoise(z[row : row + 1], sigma)
        ours = ProductDenoiser(density.denoise, y[row : row + 1], torch.tensor(lam))
        assert torch.allclose(ours(z[row : row + 1], torch.tensor(sigma)), exact, atol=5e-3)


def product_mixture(density: GaussianMixture, y: torch.Tensor, lam: float) -> GaussianMixture:
    """The product density of a mixture and N(y, lambda^2 I), component by component."""
    eye = torch.eye(len(y), dtype=torch.float64)
    precision, means = density.precisions().double(), density.means.double()
    covariance = (precision + eye / lam**2).inverse()
    centres = covariance @ (precision @ means[..., None] + y.double()[:, None] / lam**2)
    blurred = precision.inverse() + lam**2 * eye
    logits = torch.distributions.MultivariateNormal(means, blurred).log_prob(y.double())
    weights = (density.weights.double().log() + logits).softmax(0)
    return mixture(centres[..., 0].float(), covariance.float(), weights.float())


@pytest.mark.parametrize("dim", [2, 6])
@pytest.mark.parametrize("solver", SOLVERS)
def test_exact_score_is_unbiased_within_monte_carlo_error(dim, solver):
    density, draws, lam = rotated_mixture(dim), 1000, 0.4
    y = torch.randn(3, dim, generator=torch.Generator().manual_seed(1))
    x = ExactScore(32, solver)(y.repeat_interleave(draws, 0), lam, exact_prior(density), SharedNoise(0)).x
    x, exact = x.unflatten(0, (3, draws)), product_draws(density, y, lam, draws)
    noise = ((x.var(1) + exact.var(1)) / draws).sqrt()
    assert ((x.mean(1) - density.denoise(y, lam)).abs() < 4 * noise + 0.02 * lam).all()
    assert torch.allclose(x.std(1), exact.std(1), atol=0.25 * lam)  # the ODE's steps leave it a little small


def product_draws(density: GaussianMixture, y: torch.Tensor, lam: float, draws: int) -> torch.Tensor:
    """Draws from the product density itself, `[B, draws, dim]`."""
    generator = torch.Generator().manual_seed(7)
    return torch.stack([product_mixture(density, row, lam).sample(draws, generator) for row in y])


def test_one_step_of_exact_score_is_the_mean():
    prior = exact_prior(triangle())
    once = ExactScore(steps=1)(Y, 0.3, prior, SharedNoise(0))
    assert once.nfe == 1 and torch.allclose(once.x, Tweedie()(Y, 0.3, prior, SharedNoise(0)).x)


def test_exact_score_outside_its_interval_is_plain_sampling():
    prior = exact_prior(triangle())
    free = ExactScore(steps=8, solver="ddim", kernel_interval=(100.0, 200.0))(Y, 0.1, prior, SharedNoise(0))
    assert torch.allclose(free.x, Split(steps=8)(Y, 1e6, prior, SharedNoise(0)).x, atol=1e-4)


def test_split_with_an_endless_bandwidth_is_plain_sampling():
    from threestudio_msd.distillation import karras_sigmas, sample

    prior = exact_prior(triangle())
    y = torch.zeros(8, 2)
    product = Split(steps=12)(y, 1e6, prior, SharedNoise(3))
    z = 5.0 * SharedNoise(3)(y)
    assert torch.allclose(product.x, sample(prior.denoiser, z, karras_sigmas(12, 0.002, 5.0)), atol=1e-4)


def test_split_with_a_tiny_bandwidth_stays_at_the_render():
    prior = exact_prior(triangle())
    product = Split(steps=12)(Y, 1e-3, prior, SharedNoise(0))
    assert torch.allclose(product.x, Y, atol=2e-2)


def test_split_outside_its_interval_is_plain_sampling():
    prior = exact_prior(triangle())
    free = Split(steps=8, kernel_interval=(100.0, 200.0))(Y, 0.1, prior, SharedNoise(0))
    plain = Split(steps=8)(Y, 1e6, prior, SharedNoise(0))
    assert torch.allclose(free.x, plain.x, atol=1e-4)


@pytest.mark.parametrize("solver", SOLVERS)
def test_nfe_is_what_the_denoiser_counts(solver):
    class Counting:
        def __init__(self) -> None:
            self.calls, self.mixture = 0, triangle()

        def __call__(self, z, sigma):
            self.calls += 1
            return self.mixture(z, sigma)

    for sampler in (
        Split(steps=6, solver=solver),
        Split(steps=6, solver=solver, centre="inversion", inversion_steps=5),
        ExactScore(6, solver),
        ExactScore(6, solver, kernel_interval=(0.3, 2.0)),
        Posterior(steps=6),
        Posterior(steps=6, start="inversion", inversion_steps=3),
        Tweedie(),
    ):
        counting = Counting()
        product = sampler(Y, 0.5, exact_prior(counting), SharedNoise(0))
        assert product.nfe == counting.calls


@pytest.mark.parametrize(
    "sampler",
    [
        Split(steps=4),
        Split(steps=4, centre="inversion"),
        ExactScore(steps=4),
        ExactScore(steps=4, kernel_interval=(0.3, 2.0)),
        Posterior(steps=4),
        Posterior(steps=4, start="inversion"),
        Tweedie(),
    ],
)
def test_a_sample_does_not_depend_on_its_batch(sampler):
    prior, lam = exact_prior(triangle()), torch.tensor([0.1, 0.5, 1.0, 2.0])
    whole = sampler(Y, lam, prior, SampleNoise([0, 1, 2, 3])).x
    part = sampler(Y[2:3], lam[2:3], prior, SampleNoise([2])).x
    assert torch.allclose(whole[2:3], part, atol=1e-5)


@pytest.mark.parametrize("bad", [{"solver": "rk45"}, {"centre": "noise"}])
def test_unknown_choices_are_refused(bad):
    with pytest.raises(ValueError, match="expected one of"):
        Split(**bad)
    with pytest.raises(ValueError, match="expected one of"):
        Posterior(order=3)
    with pytest.raises(ValueError, match="expected one of"):
        ExactScore(solver="rk45")
