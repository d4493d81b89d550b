"""Score distillation via inversion."""

from __future__ import annotations

import torch
from mixtures import Mixture, exact_prior, triangle
from threestudio_msd.distillation import SDI, PairPrior, PlainPrior, SampleNoise, SharedNoise, TableSchedule


def test_sdi_of_a_single_gaussian_finds_its_own_noise():
    """For one Gaussian the ODE keeps z's place in units of its spread, so the inversion denoises to y but for
    step error.
    """
    mixture = Mixture(torch.zeros(1, 2), 1.0)
    abar = torch.linspace(0.9999, 0.01, 1000)
    prior = PlainPrior(mixture, TableSchedule.from_alphas_cumprod(abar))
    y = torch.tensor([[0.6, -0.4]])
    errors = []
    for steps in (10, 100):
        estimate = SDI(steps=steps, eta=0.0)(y, prior, SampleNoise([0]), 1.0 - 0.3)
        errors.append(float((estimate.denoised * (1 + estimate.sigma**2).sqrt() - y).norm()))
    assert errors[1] < 0.3 * errors[0]
    assert errors[1] < 0.02


def test_the_inversion_mirrors_the_scale_unless_it_has_its_own():
    """The authors denoise at 7.5 and invert at -7.5, on top of the conditional branch: 8.5 and -6.5."""
    mixture = triangle()
    prior = PairPrior(mixture, Mixture(torch.zeros(1, 2), 1.0), exact_prior(mixture).schedule, 8.5)
    y = torch.tensor([[0.2, 0.1]])
    found = [SDI(inversion_scale=s)(y, prior, SharedNoise(0), 0.5).gradient for s in (None, -6.5, 1.0)]
    assert torch.equal(found[0], found[1])
    assert not torch.allclose(found[0], found[2])
