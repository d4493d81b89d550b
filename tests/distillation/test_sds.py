"""Score distillation sampling as published."""

from __future__ import annotations

import torch
from mixtures import triangle
from threestudio_msd.distillation import SDS, PlainPrior, SampleNoise, TableSchedule, expand, sds_weight

Y = torch.tensor([[0.2, 0.1], [0.5, 0.5], [-0.3, -0.2], [0.9, 0.1]])


def test_sds_is_poole_et_al():
    """g = w (eps_hat - n), written out in variance-preserving form."""
    abar = torch.linspace(0.999, 0.01, 1000)
    mixture = triangle()
    prior = PlainPrior(mixture, TableSchedule.from_alphas_cumprod(abar))
    estimate = SDS()(Y, prior, SampleNoise(range(4)), 0.0)
    noise = SampleNoise(range(4))
    noise(Y[:, :1])  # the draw of t
    n, sigma = noise(Y), estimate.sigma
    a = expand(1 / (1 + sigma**2), Y)
    z_vp = a.sqrt() * Y + (1 - a).sqrt() * n
    eps_hat = (z_vp - a.sqrt() * mixture(z_vp / a.sqrt(), sigma)) / (1 - a).sqrt()
    assert torch.allclose(estimate.gradient, (1 - a) * (eps_hat - n), atol=1e-4)
    assert torch.allclose(sds_weight(sigma), (1 - a)[:, 0], atol=1e-6)
