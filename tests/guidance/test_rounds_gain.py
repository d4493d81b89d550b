"""A round that is fitted fully is a step of a fixed-point iteration, whose gain must stay below 1."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mixtures import Mixture
from omegaconf import OmegaConf
from threestudio_msd.distillation import SAMPLERS, SCHEDULES, KarrasSchedule, SampleNoise
from threestudio_msd.settings import build_part

CONFIGS = Path(__file__).parents[2] / "configs"
ROUNDS = {path.stem: path for path in sorted(CONFIGS.glob("*.yaml")) if "rounds:" in path.read_text()}
SCHEDULE = KarrasSchedule(0.002, 80.0)


class Guided:
    """A prompt's class among four, guided exactly: D_w = D_all + w (D_class - D_all)."""

    schedule = SCHEDULE
    everything = Mixture(torch.tensor([[-1.5], [-0.5], [0.5], [1.5]]), 0.3)
    prompt = Mixture(torch.tensor([[0.5]]), 0.3)

    def __init__(self, scale):
        self.scale = scale

    def denoiser(self, z, sigma):
        without, with_prompt = self.everything(z, sigma), self.prompt(z, sigma)
        return without + self.scale * (with_prompt - without)


def gain(sampler, lam, scale, y):
    """d x' / d y by central differences, with one noise for both sides as a camera slot has."""
    ahead, behind = (
        sampler(y + step, torch.tensor(lam).double(), Guided(scale), SampleNoise(range(len(y)))).x
        for step in (1e-4, -1e-4)
    )
    return ((ahead - behind) / 2e-4)[:, 0]


def fixed_points(sampler, lam, scale):
    """Where rounds of one noise each end, by damped iteration, which changes no fixed point."""
    y = torch.full((16, 1), 0.5, dtype=torch.float64)
    for _ in range(60):
        x = sampler(y, torch.tensor(lam).double(), Guided(scale), SampleNoise(range(len(y)))).x
        y = y + 0.3 * (x - y)
    return y


@pytest.mark.parametrize("config", ROUNDS)
def test_a_full_fit_gains_less_than_one_at_every_level_of_every_config(config):
    guidance = OmegaConf.load(ROUNDS[config]).system.guidance
    sampler = build_part(SAMPLERS, OmegaConf.to_container(guidance.sampler), "sampler")
    bandwidth = build_part(SCHEDULES, OmegaConf.to_container(guidance.bandwidth), "bandwidth")
    for lam in bandwidth.values:
        gains = gain(
            sampler, lam, guidance.guidance_scale, fixed_points(sampler, lam, guidance.guidance_scale)
        )
        assert gains.abs().max() < 1, (lam, gains.min(), gains.max())


def test_gaussians_gain_less_than_one_up_to_two_alone():
    """Prior deviation 1, conditional .3: 1 / (1 + lam^2) and .09 / (.09 + lam^2), mixed by w."""
    lam = torch.logspace(-3, 3, 400, dtype=torch.float64)
    every, one = 1 / (1 + lam**2), 0.09 / (0.09 + lam**2)

    def most(w):
        return float((every + w * (one - every)).abs().max())

    assert [most(w) < 1 for w in (1.0, 2.0, 4.0, 7.5)] == [True, True, False, False]
    assert float(every[200] + 0 * lam[0]) == pytest.approx(0.5, abs=0.02)  # at lambda 1
    damped = max(float((1 + (every + w * (one - every) - 1) / w).abs().max()) for w in (2.0, 4.0, 7.5, 100.0))
    assert damped < 1  # y + (x' - y) / w is the other way, for larger w
