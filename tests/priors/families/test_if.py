"""DeepFloyd IF: the wrapped model is the model, in pixels and without its variance."""

from __future__ import annotations

import pytest
import torch
from threestudio_msd.priors import embed_prompts, load_model


@pytest.mark.new_diffusers
def test_denoiser_is_the_schedulers_own_clean_estimate(pipeline_of):
    from diffusers import IFPipeline

    folder = pipeline_of("if_")
    pipe, model = IFPipeline.from_pretrained(folder), load_model(folder)
    pipe.text_encoder.bfloat16()  # as a T5 is loaded
    tokens, _ = pipe.encode_prompt("a red mug", do_classifier_free_guidance=False)
    condition = model.condition(embed_prompts(["a red mug"], folder))
    torch.testing.assert_close(condition["encoder_hidden_states"], tokens := tokens.float())
    pipe.scheduler.register_to_config(thresholding=False, clip_sample=False)
    x, t = torch.randn(1, 3, 16, 16), 300
    abar = pipe.scheduler.alphas_cumprod[t]
    with torch.no_grad():
        raw = pipe.unet(x, t, tokens).sample
        ours = model.denoiser(x / abar.sqrt(), ((1 - abar) / abar).sqrt(), condition)
    assert raw.shape[1] == 6  # the mean's three channels, and the variance's
    theirs = pipe.scheduler.step(raw, t, x, generator=torch.Generator()).pred_original_sample
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_it_denoises_pixels_at_the_unets_own_size(pipeline_of):
    model = load_model(pipeline_of("if_"))
    assert model.resolution == 16
    assert model.latent_shape == (3, 16, 16)
    images = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(model.encode(images), images * 2 - 1)
