"""Stable Diffusion XL: the wrapped model is the model."""

from __future__ import annotations

import pytest
import torch
from threestudio_msd.priors import embed_prompts, load_model


@pytest.mark.new_diffusers
def test_denoiser_and_condition_are_the_pipelines_own(pipeline_of):
    from diffusers import StableDiffusionXLPipeline

    folder = pipeline_of("sdxl")
    pipe, model = StableDiffusionXLPipeline.from_pretrained(folder), load_model(folder)
    tokens, _, pooled, _ = pipe.encode_prompt("a red mug", device="cpu", do_classifier_free_guidance=False)
    condition = model.condition(embed_prompts(["a red mug"], folder))
    torch.testing.assert_close(condition["encoder_hidden_states"], tokens)
    torch.testing.assert_close(condition["text_embeds"], pooled)
    assert condition["time_ids"].tolist() == [[16, 16, 0, 0, 16, 16]]
    x, t = torch.randn(1, 4, 4, 4), 300
    added = {"text_embeds": pooled, "time_ids": torch.tensor([[16.0, 16, 0, 0, 16, 16]])}
    abar = pipe.scheduler.alphas_cumprod[t]
    sigma = ((1 - abar) / abar).sqrt()
    with torch.no_grad():
        eps = pipe.unet(x, t, tokens, added_cond_kwargs=added).sample
        ours = model.denoiser(x / abar.sqrt(), sigma, condition)
    torch.testing.assert_close(ours, (x - (1 - abar).sqrt() * eps) / abar.sqrt(), rtol=1e-3, atol=1e-3)


@pytest.mark.new_diffusers
def test_the_empty_prompt_is_zero_as_in_training(pipeline_of):
    empty, other = embed_prompts(["", "a mug"], pipeline_of("sdxl"))
    assert empty.abs().sum() == 0
    assert other.abs().sum() > 0
