"""Draws that draw: with an exact denoiser of N(0, I), every bundled sampler keeps its noise on every family's
levels.
"""

import logging
import re
from functools import partial
from pathlib import Path

import pytest
import threestudio
import torch
from diffusers import DDIMScheduler
from msd_lab.bench.architectures import ARCHITECTURES, LEVELS
from msd_lab.bench.random_pipelines import build
from msd_lab.tinyworld.render import true_renders
from omegaconf import OmegaConf
from threestudio_msd.assets_path import TINY_PRIOR, asset
from threestudio_msd.distillation import (
    SAMPLERS,
    SCHEDULES,
    ExactScore,
    PlainPrior,
    SharedNoise,
    Split,
    Tweedie,
    expand,
)
from threestudio_msd.distillation.product import FORGOTTEN
from threestudio_msd.guidance.msd import MSDGuidance, build_estimator, warn_if_noise_is_forgotten
from threestudio_msd.priors import load_model
from threestudio_msd.priors.calls import flow_schedule, vp_denoiser
from threestudio_msd.priors.denoisers import FlowDenoiser
from threestudio_msd.priors.families.sana import dpm_schedule
from threestudio_msd.settings import build_part

CONFIGS = {file.stem: file for file in sorted((Path(__file__).parents[2] / "configs").glob("msd-*.yaml"))}
DRAWS, DIMENSIONS = 64, 256


def vp(deviation=1.0, **scheduler):
    """The exact denoiser of N(0, deviation^2 I) as a variance-preserving network, called as Stable Diffusion
    is.
    """
    scheduler = DDIMScheduler(**{**LEVELS, **scheduler})

    def network(sample, time):
        s = expand(wrapped.schedule.sigma_at(time), sample)
        alpha = (1 + s**2).rsqrt()
        share = deviation**2 / (deviation**2 + s**2)  # D = share z
        z = sample / alpha
        noise = z * (1 - share) / s
        return (
            noise if scheduler.config.prediction_type == "epsilon" else alpha * noise - alpha * s * share * z
        )

    wrapped = vp_denoiser(network, scheduler, torch.float32)
    return wrapped


def flow(like, deviation=1.0, noise_std=1.0):
    """The same as a rectified flow, whose noise may have another deviation, on a family's levels."""
    scheduler = build(ARCHITECTURES[like].parts["scheduler"])
    levels = dpm_schedule(scheduler) if like == "sana" else flow_schedule(scheduler, noise_std)

    def network(sample, time):
        t, x, n = expand(time, sample), deviation**2, noise_std**2
        return (t * n - (1 - t) * x) / ((1 - t) ** 2 * x + t**2 * n) * sample

    return FlowDenoiser(network, levels, timesteps=1, noise_std=noise_std)


FLOWS = ("sd3", "flux", "z-image", "qwen-image", "sana", "lumina2", "chroma", "flux2-klein")
IF_LEVELS = {**ARCHITECTURES["if"].parts["scheduler"].full}
FAMILIES = {
    "sd": vp,
    "sd-v": lambda: vp(prediction_type="v_prediction"),
    "sd-zero-terminal-snr": lambda: vp(prediction_type="v_prediction", rescale_betas_zero_snr=True),
    **{name: partial(flow, name) for name in FLOWS},
    "prx-pixel": lambda: flow("prx-pixel", 0.5, 2.0),
    "if": lambda: vp(0.5, **{key: IF_LEVELS[key] for key in ("beta_schedule",)}),
    "pixart": lambda: vp(beta_schedule="linear"),
}
FAMILY_OF = {"tiny": "sd", "sdxl": "sd", "pixart-sigma": "pixart"}
HALF = ("if", "prx-pixel")  # pixels, which vary half as much as latents


def deviation(sampler, lam, denoiser, prior=1.0):
    """The deviation of 64 draws around 0 over that of the product of N(0, prior^2) and the kernel."""
    draw = PlainPrior(lambda z, sigma: denoiser(z, sigma, {}), denoiser.schedule)
    x = sampler(torch.zeros(DRAWS, DIMENSIONS), torch.tensor(lam), draw, SharedNoise(0)).x
    return float(x.square().mean().sqrt()) * (prior**-2 + lam**-2) ** 0.5


def five(bandwidth):
    """Bandwidths from the start to twice the last."""
    first, last = bandwidth(0.0), 2 * bandwidth.last
    return torch.logspace(*(torch.tensor(end).log10() for end in (first, last)), 5).tolist()


def guidance_of(name):
    return OmegaConf.to_container(OmegaConf.load(CONFIGS[name]), resolve=False)["system"]["guidance"]


@pytest.mark.parametrize("name", CONFIGS)
def test_draws_of_every_bundled_config_keep_their_noise(name):
    settings, like = guidance_of(name), re.sub("^msd-(nerf-|hashgrid-)?", "", name)
    family, prior = FAMILY_OF.get(like, like), 0.5 if like in HALF else 1.0
    sampler = build_part(SAMPLERS, settings["sampler"], "sampler")
    if isinstance(sampler, Tweedie):
        pytest.skip("tweedie is the mean itself, and draws nothing")
    lams = five(build_part(SCHEDULES, settings["bandwidth"], "bandwidth"))
    found = [deviation(sampler, lam, FAMILIES[family](), prior) for lam in lams]
    print(f"{name:16} {settings['sampler']['type']:12}", *(f"{d:.2f}" for d in found))
    assert min(found) >= 0.1, found
    if isinstance(sampler, ExactScore):
        assert found == pytest.approx([1.0] * 5, abs=0.25)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_default_sampler_has_the_products_deviation(family):
    estimator, scale = build_estimator(*defaults(), 1), 0.5 if family in HALF else 1.0
    found = [
        deviation(estimator.sampler, scale * lam, FAMILIES[family](), scale)
        for lam in five(estimator.bandwidth)
    ]
    assert found == pytest.approx([1.0] * 5, abs=0.25)


def defaults():
    config = MSDGuidance.Config(trainer_max_steps=1)
    return config.sampler, config.bandwidth


def test_latents_of_the_tiny_prior_deviate_by_about_one_as_those_of_stable_diffusion():
    """So that bandwidths carry over; DeepFloyd IF's pixels deviate half as much."""
    model = load_model(asset(TINY_PRIOR), None, "float32", torch.device("cpu"), None, {})
    renders = torch.cat([true_renders(prompt, 2) for prompt in ("a red mug", "a green car", "a black cat")])
    deviation = float(model.encode(renders.permute(0, 3, 1, 2)).std())
    print(f"latents of the tiny prior deviate by {deviation:.2f}")
    assert deviation == pytest.approx(1.0, abs=0.1)


def test_exact_networks_are_exact():
    """What the figures above rest on: D(z, sigma) = z / (1 + sigma^2), or its like for another deviation."""
    z = torch.randn(3, 5)
    for name, make in FAMILIES.items():
        variance = 0.25 if name in HALF else 1.0
        for sigma in (0.1, 1.0, 7.0):
            exact = z * variance / (variance + sigma**2)
            assert torch.allclose(make()(z, torch.tensor(sigma), {}), exact, atol=1e-4), (name, sigma)


@pytest.mark.parametrize(("family", "lam"), [("sd3", 8.0), ("flux", 8.0), ("sd", 1.0), ("sd", 3.0)])
def test_a_first_pull_that_forgets_the_noise_is_warned_of_with_a_value_that_draws(family, lam, caplog):
    denoiser, plain = FAMILIES[family](), {"type": "split", "steps": 8}
    estimator = build_estimator(plain, {"type": "constant", "start": lam, "end": lam}, 1)
    assert estimator.sampler.first_pull(denoiser.schedule, lam) < FORGOTTEN
    with caplog.at_level(logging.WARNING, threestudio.logger.name):
        warn_if_noise_is_forgotten(estimator, denoiser.schedule)
    (message,) = caplog.messages
    assert f"system.guidance.sampler: at bandwidth.start={lam:g}" in message
    mended = estimator.sampler.interval_that_draws(denoiser.schedule, lam)
    assert f"system.guidance.sampler.kernel_interval=[{mended[0]:g},{mended[1]:g}]" in message
    assert deviation(Split(steps=8, kernel_interval=mended), lam, denoiser) > 0.1
    assert deviation(estimator.sampler, lam, denoiser) < 0.01  # it still runs, as the paper has it


def test_the_papers_plain_split_draws_on_stable_diffusions_levels_at_the_start(caplog):
    estimator = build_estimator(
        {"type": "split", "steps": 8}, {"type": "constant", "start": 8.0, "end": 8.0}, 1
    )
    warn_if_noise_is_forgotten(estimator, vp().schedule)
    assert not caplog.messages
