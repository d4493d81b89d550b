"""Stable Diffusion 3: the wrapped model is the model."""

from __future__ import annotations

import pytest
import torch
from threestudio_msd.priors import embed_prompts, load_model

pytestmark = pytest.mark.new_diffusers


def test_denoiser_and_condition_are_the_pipelines_own(pipeline_of):
    from diffusers import StableDiffusion3Pipeline

    folder = pipeline_of("sd3")
    pipe, model = StableDiffusion3Pipeline.from_pretrained(folder), load_model(folder)
    pipe.text_encoder_3.bfloat16()  # as a T5 is loaded
    with torch.no_grad():
        tokens, _, pooled, _ = pipe.encode_prompt(
            "a red mug", None, None, device="cpu", do_classifier_free_guidance=False
        )
    condition = model.condition(embed_prompts(["a red mug"], folder))
    torch.testing.assert_close(condition["encoder_hidden_states"], tokens)
    torch.testing.assert_close(condition["pooled_projections"], pooled)
    t = pipe.scheduler.sigmas[400]
    x = torch.randn(1, 4, 4, 4)
    with torch.no_grad():
        u = pipe.transformer(x, tokens, pooled, (t * 1000).expand(1)).sample
        ours = model.denoiser(x / (1 - t), t / (1 - t), condition)
    torch.testing.assert_close(ours, x - t * u, rtol=1e-3, atol=1e-3)


def test_the_levels_are_the_schedulers_pure_noise_excepted(pipeline_of):
    from diffusers import FlowMatchEulerDiscreteScheduler

    folder = pipeline_of("sd3")
    scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(folder, subfolder="scheduler")
    times = scheduler.sigmas[scheduler.sigmas < 1]
    schedule = load_model(folder).denoiser.schedule
    assert schedule.sigma_max == pytest.approx(float(times.max() / (1 - times.max())), rel=1e-4)
    assert len(schedule) == len(times)


def test_the_empty_prompt_is_encoded(pipeline_of):
    assert embed_prompts([""], pipeline_of("sd3")).abs().sum() > 0
