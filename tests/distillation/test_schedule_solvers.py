"""Noise levels, solvers, inversion."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mixtures import Mixture, exact_prior, triangle
from threestudio_msd.distillation import (
    KarrasSchedule,
    SharedNoise,
    TableSchedule,
    invert,
    karras_sigmas,
    ladder,
    rms,
    sample,
)
from threestudio_msd.distillation.solvers import SOLVERS

BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
ABAR = (1 - BETAS).cumprod(0)


@given(st.floats(0, 1))
def test_schedules_invert_themselves(u):
    for schedule in (KarrasSchedule(0.01, 50.0), TableSchedule.from_alphas_cumprod(ABAR)):
        sigma = schedule.sigma(u)
        assert schedule.sigma_min * 0.999 <= sigma <= schedule.sigma_max * 1.001
        assert float(schedule.time(sigma)) == pytest.approx(min(u, 0.999), abs=2e-3)


def test_table_is_stable_diffusions():
    schedule = TableSchedule.from_alphas_cumprod(ABAR)
    assert schedule.sigma_min == pytest.approx(0.0292, abs=1e-4)
    assert schedule.sigma_max == pytest.approx(14.61, abs=0.01)
    for t in (0, 1, 500, 999):
        sigma = ((1 - ABAR[t]) / ABAR[t]).sqrt()
        assert float(schedule.timestep(sigma)) == pytest.approx(t, abs=1e-2)
        assert float(schedule.sigma_at(t)) == pytest.approx(float(sigma), rel=1e-5)


def test_snap_moves_levels_to_training_steps():
    schedule = TableSchedule.from_alphas_cumprod(ABAR)
    snapped = schedule.snap(karras_sigmas(7, 0.03, 14.0))
    steps = schedule.timestep(snapped[:-1])
    assert torch.allclose(steps, steps.round(), atol=1e-2)
    assert snapped[-1] == 0


def test_a_table_must_ascend():
    with pytest.raises(ValueError, match="ascending"):
        TableSchedule(torch.tensor([1.0, 0.5]))


def test_karras_grid():
    grid = karras_sigmas(5, 0.1, 10.0)
    assert grid[0] == 10 and grid[-1] == 0 and grid[-2] == pytest.approx(0.1, rel=1e-4)
    assert (grid.diff() < 0).all()
    batch = karras_sigmas(5, 0.1, torch.tensor([10.0, 0.05]))
    assert torch.allclose(batch[:, 0], grid)
    assert (batch[:, 1].diff() < 0).all()
    for bad in ((0, 0.1, 1.0), (3, 0.0, 1.0), (3, 0.1, -1.0)):
        with pytest.raises(ValueError, match="grid"):
            karras_sigmas(*bad)


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
    """Far from the data y - D is large, and a plain first step at low noise throws the state far beyond sigma."""
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
