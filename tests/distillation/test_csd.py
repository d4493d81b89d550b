"""Classifier score distillation: what guidance adds to SDS."""

from __future__ import annotations

from dataclasses import replace

import torch
from mixtures import Mixture, exact_prior, triangle
from threestudio_msd.distillation import CSD, SDS, PairPrior, SampleNoise

Y = torch.tensor([[0.2, 0.1], [0.5, 0.5], [-0.3, -0.2], [0.9, 0.1]])


def test_csd_is_what_guidance_adds_to_sds():
    """SDS at scale w is SDS at scale 1 plus (w - 1) CSD, for the same t and n (Yu et al. 2023, Eq. 7)."""
    mixture, w = triangle(), 4.0
    prior = PairPrior(mixture, Mixture(torch.zeros(1, 2), 1.0), exact_prior(mixture).schedule, w)
    guided, plain = (SDS()(Y, p, SampleNoise(range(4)), 0.0) for p in (prior, replace(prior, scale=1.0)))
    csd = CSD()(Y, prior, SampleNoise(range(4)), 0.0)
    assert torch.allclose(guided.gradient, plain.gradient + (w - 1) * csd.gradient, atol=1e-4)


def test_csd_does_not_depend_on_the_scale():
    mixture = triangle()
    prior = PairPrior(mixture, Mixture(torch.zeros(1, 2), 1.0), exact_prior(mixture).schedule, 7.5)
    found = [CSD()(Y, replace(prior, scale=w), SampleNoise(range(4)), 0.0).gradient for w in (1.0, 7.5)]
    assert torch.equal(found[0], found[1])
