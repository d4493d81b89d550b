"""Interval score matching: the score along the render's own deterministic path."""

from __future__ import annotations

import torch
from mixtures import Mixture, exact_prior, triangle
from threestudio_msd.distillation import ISM, PlainPrior, SampleNoise

Y = torch.tensor([[0.6, -0.4], [0.2, 0.3]])


def test_without_a_prompt_the_gradient_falls_with_the_interval():
    """Both scores are then of the same path, and differ by the interval alone (Liang et al. 2023, Eq. 17)."""
    mixture = Mixture(torch.zeros(1, 2), 1.0)
    prior = exact_prior(mixture)
    norms = [
        float(ISM((0.6, 0.6), interval, 0.02)(Y, prior, SampleNoise([0, 1]), 0.0).gradient.norm())
        for interval in (0.2, 0.05, 0.01)
    ]
    assert norms[0] > 2 * norms[1] > 4 * norms[2]


def test_the_reference_is_unconditional_and_guidance_acts_at_t_alone():
    levels = []

    class Recorded(PlainPrior):
        def at(self, scale):
            levels.append(scale)
            return super().at(scale)

    mixture = triangle()
    prior = Recorded(mixture, exact_prior(mixture).schedule, 7.5)
    estimate = ISM()(Y, prior, SampleNoise([0, 1]), 0.0)
    assert levels == [0.0]
    assert torch.allclose(estimate.target, Y - estimate.gradient)
