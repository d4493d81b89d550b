"""Guidance of any kind, on denoisers that count."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from threestudio_msd.distillation import KarrasSchedule, PairPrior, PlainPrior, Prior

Z, SIGMA = torch.tensor([[1.0, -2.0]]), torch.tensor(1.0)


class Scaled:
    """z times a factor."""

    def __init__(self, factor):
        self.factor, self.calls = factor, 0

    def __call__(self, z, sigma):
        self.calls += 1
        return self.factor * z


@pytest.fixture
def prior():
    return PairPrior(Scaled(0.5), Scaled(0.25), KarrasSchedule(0.002, 5.0), 3.0)


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 3.0])
def test_the_denoiser_at_a_scale_is_equation_13(prior, scale):
    torch.testing.assert_close(prior.at(scale)(Z, SIGMA), (0.25 + scale * 0.25) * Z)
    torch.testing.assert_close(replace(prior, scale=scale).denoiser(Z, SIGMA), prior.at(scale)(Z, SIGMA))
    torch.testing.assert_close(prior.direction(Z, SIGMA), 0.25 * Z)


@pytest.mark.parametrize(("scale", "calls"), [(0.0, (0, 1)), (1.0, (1, 0)), (1, (1, 0)), (3.0, (1, 1))])
def test_a_branch_without_weight_is_not_evaluated(prior, scale, calls):
    prior.at(scale)(Z, SIGMA)
    assert (prior.conditional.calls, prior.unconditional.calls) == calls


def test_a_plain_denoiser_is_a_prior_that_guidance_leaves_alone():
    plain = PlainPrior(Scaled(0.5), KarrasSchedule(0.002, 5.0))
    assert isinstance(plain, Prior)
    assert plain.at(7.5) is plain.denoiser
    assert not plain.direction(Z, SIGMA).any()
