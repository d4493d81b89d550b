"""Variational score distillation: its two limits."""

from __future__ import annotations

import torch
from mixtures import exact_prior, triangle
from threestudio_msd.distillation import SDS, VSD, SampleNoise, SharedNoise

Y = torch.tensor([[0.2, 0.1], [0.5, 0.5], [-0.3, -0.2], [0.9, 0.1]])


def test_vsd_vanishes_when_phi_is_the_prior():
    mixture = triangle()
    assert VSD(mixture)(Y, exact_prior(mixture), SharedNoise(0), 0.0).gradient.abs().max() == 0


def test_vsd_with_a_point_mass_as_phi_is_sds():
    """SDS is VSD with the renders' distribution taken for points: eps_phi = n."""
    prior = exact_prior(triangle())
    vsd = VSD(lambda z, sigma: Y)(Y, prior, SampleNoise(range(4)), 0.0).gradient
    sds = SDS()(Y, prior, SampleNoise(range(4)), 0.0).gradient
    assert torch.allclose(vsd, sds, atol=1e-6)
