import math

import pytest
import torch
from msd_lab.toy.densities import DENSITIES, fractal, from_image, ideal, karras_fractal, mixture


@pytest.fixture
def pair():
    """Two tilted Gaussians of unequal weight."""
    covariances = torch.tensor([[[0.09, 0.03], [0.03, 0.04]], [[0.02, -0.01], [-0.01, 0.05]]])
    return mixture(torch.tensor([[-0.5, 0.1], [0.6, -0.2]]), covariances, torch.tensor([1.0, 3.0]))


def test_logp_is_that_of_torch_distributions_at_every_level(pair):
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    covariances = torch.linalg.inv(pair.precisions())
    for sigma in (0.0, 0.3, 2.0):
        components = torch.distributions.MultivariateNormal(pair.means, covariances + sigma**2 * torch.eye(2))
        truth = torch.distributions.MixtureSameFamily(
            torch.distributions.Categorical(pair.weights), components
        )
        assert torch.allclose(pair.logp(x, sigma), truth.log_prob(x), atol=1e-4)


def test_score_is_the_gradient_of_logp(pair):
    x = torch.randn(40, 2, generator=torch.Generator().manual_seed(1)).requires_grad_()
    sigma = torch.linspace(0.05, 1.5, 40)
    (gradient,) = torch.autograd.grad(pair.logp(x, sigma).sum(), x)
    assert torch.allclose(pair.score(x.detach(), sigma), gradient, atol=1e-4)


def test_denoise_is_the_posterior_mean(pair):
    """By self-normalised importance sampling from the density itself."""
    generator = torch.Generator().manual_seed(2)
    x = pair.sample(400_000, generator)
    z, sigma = torch.tensor([[0.1, 0.0], [-0.4, 0.3]]), 0.4
    weights = (-torch.cdist(z, x).square() / (2 * sigma**2)).softmax(1)
    assert torch.allclose(pair.denoise(z, sigma), weights @ x, atol=3e-3)


def test_results_do_not_depend_on_the_chunks(pair, monkeypatch):
    x, sigma = torch.randn(17, 2, generator=torch.Generator().manual_seed(3)), torch.linspace(0.1, 1, 17)
    whole = pair.score(x, sigma)
    monkeypatch.setattr("msd_lab.toy.densities.PAIRS", 6)
    assert torch.allclose(pair.score(x, sigma), whole, atol=1e-6)


def test_sample_has_the_noised_moments(pair):
    x = pair.sample(200_000, torch.Generator().manual_seed(4), sigma=0.5)
    mean, std = pair.moments()
    assert torch.allclose(x.mean(0), mean, atol=5e-3)
    assert torch.allclose(x.std(0), (std**2 + 0.25).sqrt(), atol=5e-3)


def test_the_ideal_denoiser_is_equation_16(pair):
    samples = pair.sample(300, torch.Generator().manual_seed(5))
    z, sigma = torch.randn(9, 2, generator=torch.Generator().manual_seed(6)), 0.3
    weights = (-torch.cdist(z, samples).square() / (2 * sigma**2)).softmax(1)
    assert torch.allclose(ideal(samples, pair).denoise(z, sigma), weights @ samples, atol=1e-5)


def test_the_fractal_has_the_published_figures():
    tree = fractal()
    mean, std = tree.moments()
    assert len(tree) == 248
    assert torch.allclose(mean, torch.tensor([0.040, 0.487]), atol=1e-3)
    assert torch.allclose(std, torch.tensor([0.260, 0.256]), atol=1e-3)
    entropy = -tree.logp(tree.sample(40_000, torch.Generator().manual_seed(0))).mean()
    assert abs(float(entropy) + 1.844) < 0.02


def test_karras_fractal_has_unit_half_deviation():
    both = fractal("AB", 6, (45.0, 225.0))
    assert len(karras_fractal()) == 1016 and len(both) == 2032
    assert torch.allclose(both.moments()[1], torch.tensor([0.5, 0.5]), atol=1e-3)


@pytest.mark.parametrize(("name", "published"), [("spiral", -1.39), ("pinwheel", -1.19)])
def test_scales_suit_the_papers_nll_of_ddim_samples(name, published):
    density = DENSITIES[name]()
    entropy = -density.logp(density.sample(40_000, torch.Generator().manual_seed(0))).mean()
    assert abs(float(entropy) - published) < 0.02


@pytest.mark.parametrize("name", DENSITIES)
def test_every_density_lies_in_its_view_and_integrates_to_one(name):
    density = DENSITIES[name]()
    (x0, y0), (x1, y1) = density.view
    points = density.sample(4000, torch.Generator().manual_seed(0))
    inside = (points > torch.tensor([x0, y0])) & (points < torch.tensor([x1, y1]))
    assert float(inside.all(1).double().mean()) > 0.99
    if len(density) <= 300:  # the finest one needs a finer grid than a quick test affords
        mass = density.logp(density.grid(200)).exp().mean() * (x1 - x0) * (y1 - y0)
        assert abs(float(mass) - 1) < 0.02


def test_an_image_becomes_a_density_that_is_high_where_it_is_dark(tmp_path):
    grey = torch.ones(20, 40)
    grey[2:6, 30:38] = 0.0  # above, to the right
    density = from_image(grey)
    peak = density.means[density.logp(density.means).argmax()]
    assert peak[0] > 0 and peak[1] > 0
    with pytest.raises(ValueError, match="white all over"):
        from_image(torch.ones(8, 8))
    with pytest.raises(FileNotFoundError):
        from_image(tmp_path / "none.png")


def test_bad_mixtures_are_refused():
    with pytest.raises(ValueError, match="positive definite"):
        mixture(torch.zeros(1, 2), -torch.eye(2)[None])
    with pytest.raises(ValueError, match="shapes disagree"):
        mixture(torch.zeros(2, 2), torch.eye(2)[None])


def test_thousands_of_components_stay_within_memory():
    samples = torch.randn(5000, 2, generator=torch.Generator().manual_seed(7))
    kde = mixture(samples, 0.01 * torch.eye(2).expand(5000, 2, 2))
    out = kde.denoise(torch.randn(2000, 2, generator=torch.Generator().manual_seed(8)), 0.2)
    assert out.shape == (2000, 2) and bool(torch.isfinite(out).all())
    assert math.isfinite(float(kde.logp(torch.tensor([[30.0, -30.0]]))))
