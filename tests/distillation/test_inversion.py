"""DDIM inversion."""

from __future__ import annotations

import pytest
import torch
from mixtures import Mixture, exact_prior, triangle
from threestudio_msd.distillation import invert, ladder, rms, sample


def test_ddim_there_and_back():
    prior = exact_prior(triangle(0.3))
    x = triangle(0.3).sample(64, torch.Generator().manual_seed(0))
    errors = []
    for steps in (50, 400):
        levels = ladder(steps, 0.002, 5.0)
        inversion = invert(x, prior.denoiser, levels)
        back = sample(
            prior.denoiser,
            inversion.states[-1],
            levels.flip(0).clone().index_fill_(0, torch.tensor([steps]), 0.0),
        )
        errors.append(float((back - x).norm(dim=1).median()))
    assert errors[1] < 0.3 * errors[0]
    assert errors[1] < 0.02


def test_limited_inversion_survives_a_render_out_of_distribution():
    """Far from the data y - D is large, and a plain first step at low noise throws the state far beyond
    sigma.
    """
    means = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
    prior = exact_prior(Mixture(means, 0.02))
    y = torch.full((4, 64), 3.0)
    levels = ladder(10, 0.03, 14.0)
    plain = invert(y, prior.denoiser, levels)
    limited = invert(y, prior.denoiser, levels, limit=1.0)
    excess = [rms(i.states[-1] - y) / levels[-1] for i in (plain, limited)]
    assert excess[0].min() > 3
    assert excess[1].max() <= 1.0 + 1e-4


def test_limit_leaves_an_inversion_in_distribution_alone():
    mixture = Mixture(torch.zeros(1, 64), 1.0)
    x = mixture.sample(8, torch.Generator().manual_seed(0))
    levels = ladder(50, 0.03, 14.0)
    plain, limited = invert(x, mixture, levels), invert(x, mixture, levels, limit=2.0)
    assert torch.allclose(plain.states, limited.states)


def test_inversion_interpolates_its_levels():
    mixture = triangle()
    inversion = invert(mixture.means, mixture, ladder(4, 0.03, 5.0))
    assert torch.allclose(inversion.at(0.0), mixture.means)
    assert torch.allclose(inversion.at(5.0), inversion.states[-1], atol=1e-5)
    middle = (inversion.sigmas[1] + inversion.sigmas[2]) / 2
    assert torch.allclose(inversion.at(middle), inversion.states[1:3].mean(0), atol=1e-5)


def test_eta_needs_noise():
    with pytest.raises(ValueError, match="noise"):
        invert(torch.zeros(1, 2), triangle(), ladder(2, 0.1, 1.0), eta=0.3)
