"""Noise levels."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from threestudio_msd.distillation import KarrasSchedule, TableSchedule, karras_sigmas

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
