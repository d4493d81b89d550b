"""Solvers of the probability-flow ODE."""

from __future__ import annotations

import pytest
import torch
from mixtures import Mixture, exact_prior, triangle
from threestudio_msd.distillation import SOLVERS, SharedNoise, karras_sigmas, sample


def test_ddim_is_the_closed_form_for_a_gaussian():
    """For N(0, s^2) the ODE keeps z / sqrt(s^2 + sigma^2); DDIM converges to it."""
    mixture, z = Mixture(torch.zeros(1, 2), 0.5), torch.tensor([[3.0, -4.0]])
    exact = z * 0.5 / (0.25 + 25) ** 0.5
    error = {
        n: float((sample(mixture, z, karras_sigmas(n, 0.002, 5.0)) - exact).norm()) for n in (16, 64, 256)
    }
    assert error[64] < 0.5 * error[16] and error[256] < 0.5 * error[64]


@pytest.mark.parametrize("solver", SOLVERS)
def test_second_order_solvers_beat_ddim_at_equal_calls(solver):
    prior = exact_prior(triangle(0.2))
    z = 5 * SharedNoise(0)(torch.zeros(256, 2))
    reference = sample(prior.denoiser, z, karras_sigmas(512, 0.002, 5.0), "heun")
    calls = 32
    steps = calls // 2 if solver == "heun" else calls

    def error(name: str, n: int) -> float:
        return float(
            (sample(prior.denoiser, z, karras_sigmas(n, 0.002, 5.0), name) - reference).norm(dim=1).median()
        )

    assert error(solver, steps) <= error("ddim", calls)
