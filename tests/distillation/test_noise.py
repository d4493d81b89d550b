"""Sources of noise: each sample's own, or one for all."""

from __future__ import annotations

import pytest
import torch
from threestudio_msd.distillation import SampleNoise, SharedNoise, seed_from, uniform
from threestudio_msd.distillation.noise import repeated


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


def test_uniform_numbers_are_uniform():
    drawn = uniform(SharedNoise(0), torch.zeros(20000, 3))
    assert float(drawn.min()) >= 0 and float(drawn.max()) < 1
    assert float(drawn.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(drawn.var()) == pytest.approx(1 / 12, abs=0.005)
