"""Bandwidth schedules and the criterion of convergence."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mixtures import exact_prior, triangle
from threestudio_msd.distillation import (
    MSD,
    SCHEDULES,
    Adaptive,
    Constant,
    Exponential,
    SharedNoise,
    Tweedie,
    converged,
)
from threestudio_msd.fields import FieldError
from threestudio_msd.settings import build_part

FALLING = [kind for name, kind in SCHEDULES.items() if name not in ("constant", "levels", "adaptive")]


@pytest.mark.parametrize("kind", FALLING)
@given(st.floats(-0.5, 1.5), st.floats(-0.5, 1.5))
def test_schedules_fall_monotonically_between_their_ends(kind, a, b):
    schedule = kind(2.0, 0.1)
    early, late = schedule(min(a, b)), schedule(max(a, b))
    assert 0.1 - 1e-9 <= late <= early + 1e-9 <= 2.0 + 2e-9
    assert schedule(0.0) == pytest.approx(2.0)
    assert schedule(1.0) == pytest.approx(0.1)


def test_levels_take_their_values_in_turn_one_a_round():
    rounds, fits = [8.0, 3.0, 1.0], 4
    levels = build_part(SCHEDULES, {"type": "levels", "values": rounds}, "bandwidth")
    progress = [step / (len(rounds) * fits - 1) for step in range(len(rounds) * fits)]
    assert [levels(part) for part in progress] == [value for value in rounds for _ in range(fits)]
    assert levels.last == 1.0


@pytest.mark.parametrize("bad", [[], [1.0, 0.0], [1.0, float("nan")], 3.0])
def test_levels_are_positive_numbers(bad):
    with pytest.raises(FieldError, match=r"bandwidth\.values: expected"):
        build_part(SCHEDULES, {"type": "levels", "values": bad}, "bandwidth")


def test_constant_and_exponential():
    assert Constant(0.7, 0.7)(0.3) == 0.7
    assert Exponential(4.0, 1.0)(0.5) == pytest.approx(2.0)


@pytest.mark.parametrize("bad", [(-1.0, 0.1), (1.0, 0.0), (float("nan"), 0.1), (float("inf"), 0.1)])
def test_ends_must_be_positive_and_finite(bad):
    for kind in (*FALLING, Constant, Adaptive):
        with pytest.raises(ValueError, match="expected a number of at least 1e-06"):
            kind(*bad)


@pytest.mark.parametrize("bad", [{"rate": 1.0}, {"rate": 0.0}, {"patience": 0}])
def test_adaptive_refuses_settings_that_never_end(bad):
    with pytest.raises(ValueError, match="expected"):
        Adaptive(1.0, 0.1, **bad)


def test_adaptive_is_annealed_mean_shift():
    """It ends by itself, at a mode of the density, with lambda at its end; no sample waits for another."""
    mixture = triangle(0.02)
    prior, msd = exact_prior(mixture), MSD(Tweedie(), Adaptive(1.0, 0.05, tau=0.05))
    y = torch.tensor([[0.5, 0.4], [-0.9, 0.5]])
    levels, state = [], msd.init(y)
    for step in range(300):
        estimate = msd(y, prior, SharedNoise(step), 0.0, state)
        y, state = estimate.target, estimate.state
        levels.append(state["lam"])
    assert (levels[-1] <= 0.05).all()
    assert torch.cdist(y, mixture.means).min(1).values.max() < 0.05
    assert any((level[0] != level[1]).item() for level in levels[1:])


def test_adaptive_waits_while_the_shift_is_large():
    adaptive = Adaptive(1.0, 0.1, tau=0.1, patience=100)
    state = adaptive.init(torch.zeros(1, 4))
    for _ in range(50):
        state = adaptive.step(state, torch.ones(1, 4))
    assert adaptive(0.5, state).item() == 1.0
    state = adaptive.step(state, torch.ones(1, 4) * -50)
    assert adaptive(0.5, state).item() == pytest.approx(0.8)


def test_schedules_are_pure():
    """A step leaves the state that it was given as it was."""
    adaptive = Adaptive(1.0, 0.1, patience=1)
    before = adaptive.init(torch.zeros(2, 3))
    after = adaptive.step(before, torch.ones(2, 3))
    assert before["lam"].tolist() == [1.0, 1.0] and after["lam"].tolist() == pytest.approx([0.8, 0.8])


def test_criterion_of_convergence():
    shift = torch.tensor([[0.3, 0.4], [3.0, 4.0]])  # norms 0.5 and 5, sqrt(dim) = 1.414
    assert converged(shift, 1.0, 0.36).tolist() == [True, False]
    assert converged(shift, torch.tensor([1.0, 10.0]), 0.36).tolist() == [True, True]
