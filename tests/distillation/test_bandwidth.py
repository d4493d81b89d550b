"""Bandwidth schedules, convergence, noise, checks."""

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
    NonFiniteError,
    SampleNoise,
    SharedNoise,
    Tweedie,
    converged,
    expand,
    require_finite,
    rms,
    seed_from,
)
from threestudio_msd.distillation.noise import repeated

FALLING = [kind for name, kind in SCHEDULES.items() if name not in ("constant", "adaptive")]


@pytest.mark.parametrize("kind", FALLING)
@given(st.floats(-0.5, 1.5), st.floats(-0.5, 1.5))
def test_schedules_fall_monotonically_between_their_ends(kind, a, b):
    schedule = kind(2.0, 0.1)
    early, late = schedule(min(a, b)), schedule(max(a, b))
    assert 0.1 - 1e-9 <= late <= early + 1e-9 <= 2.0 + 2e-9
    assert schedule(0.0) == pytest.approx(2.0)
    assert schedule(1.0) == pytest.approx(0.1)


def test_constant_and_exponential():
    assert Constant(0.7, 0.7)(0.3) == 0.7
    assert Exponential(4.0, 1.0)(0.5) == pytest.approx(2.0)


@pytest.mark.parametrize("bad", [(-1.0, 0.1), (1.0, 0.0), (float("nan"), 0.1), (float("inf"), 0.1)])
def test_ends_must_be_positive_and_finite(bad):
    for kind in SCHEDULES.values():
        with pytest.raises(ValueError, match="positive"):
            kind(*bad)


@pytest.mark.parametrize("bad", [{"rate": 1.0}, {"rate": 0.0}, {"patience": 0}])
def test_adaptive_refuses_settings_that_never_end(bad):
    with pytest.raises(ValueError, match="bandwidth"):
        Adaptive(1.0, 0.1, **bad)


def test_adaptive_is_annealed_mean_shift():
    """It ends by itself, at a mode of the density, with lambda at its end; no sample waits for another."""
    mixture = triangle(0.02)
    prior, adaptive = exact_prior(mixture), Adaptive(1.0, 0.05, tau=0.05)
    msd, y = MSD(Tweedie(), adaptive), torch.tensor([[0.5, 0.4], [-0.9, 0.5]])
    levels = []
    for step in range(300):
        estimate = msd(y, prior, SharedNoise(step), 0.0)
        levels.append(adaptive(0.0))
        y = estimate.target
        adaptive.observe(-estimate.gradient)
        if adaptive.finished:
            break
    assert adaptive.finished
    assert torch.cdist(y, mixture.means).min(1).values.max() < 0.05
    assert any((level[0] != level[1]).item() for level in levels[1:])


def test_adaptive_waits_while_the_shift_is_large():
    adaptive = Adaptive(1.0, 0.1, tau=0.1, patience=100)
    for _ in range(50):
        adaptive.observe(torch.ones(1, 4))
    assert adaptive(0.5).item() == 1.0
    adaptive.observe(torch.ones(1, 4) * -50)
    assert adaptive(0.5).item() == pytest.approx(0.8)


def test_criterion_of_convergence():
    shift = torch.tensor([[0.3, 0.4], [3.0, 4.0]])  # norms 0.5 and 5, sqrt(dim) = 1.414
    assert converged(shift, 1.0, 0.36).tolist() == [True, False]
    assert converged(shift, torch.tensor([1.0, 10.0]), 0.36).tolist() == [True, True]


def test_sample_noise_belongs_to_its_sample():
    like = torch.zeros(3, 2, 2)
    whole = SampleNoise([1, 2, 3])(like)
    assert torch.equal(whole[1:2], SampleNoise([2])(like[:1]))
    with pytest.raises(ValueError, match="3 samples"):
        SampleNoise([1, 2, 3])(like[:2])


def test_repeated_noise_lays_draws_sample_by_sample():
    like = torch.zeros(6, 2)
    drawn = repeated(SampleNoise([1, 2]), 3)(like).unflatten(0, (2, 3))
    first = SampleNoise([1, 2])(like[:2])
    assert torch.equal(drawn[:, 0], first)
    assert not torch.equal(drawn[:, 1], first)


def test_shared_noise_is_standard_normal_and_seeded():
    noise = SharedNoise(0)(torch.zeros(50000))
    assert float(noise.mean()) == pytest.approx(0, abs=0.02)
    assert float(noise.std()) == pytest.approx(1, abs=0.02)
    assert torch.equal(noise, SharedNoise(0)(torch.zeros(50000)))


def test_seeds_differ_by_every_part():
    assert len({seed_from(a, b) for a in range(20) for b in range(20)}) == 400


def test_non_finite_tensors_are_named():
    require_finite("fine", torch.ones(3))
    with pytest.raises(NonFiniteError, match=r"latents at step 3: 2 of 3 values.*lower"):
        require_finite(
            "latents at step 3", torch.tensor([1.0, float("nan"), float("inf")]), "Try a lower rate."
        )


def test_expand_and_rms():
    x = torch.ones(2, 3, 4)
    assert expand(2.0, x).shape == (1, 1, 1)
    assert expand(torch.tensor([1.0, 2.0]), x).shape == (2, 1, 1)
    assert rms(2 * x).tolist() == [2.0, 2.0]
    with pytest.raises(ValueError, match="one a sample"):
        expand(torch.ones(3), x)
