"""Flux.1: the wrapped model is the model, packed latents and guidance embedding included."""

from __future__ import annotations

import pytest
import torch
from threestudio_msd.distillation import sample
from threestudio_msd.priors import embed_prompts, load_model
from threestudio_msd.priors.random_pipelines import save_random_pipeline


@pytest.mark.parametrize("guidance_embeds", [True, False], ids=["dev", "schnell"])
def test_sampling_is_the_pipelines_own(tmp_path, guidance_embeds):
    from diffusers import FluxPipeline

    changes = {"transformer": {"guidance_embeds": guidance_embeds}}
    folder = str(save_random_pipeline(tmp_path / "flux", "flux", changes=changes))
    pipe, model = FluxPipeline.from_pretrained(folder), load_model(folder)
    pipe.set_progress_bar_config(disable=True)
    x = torch.randn(1, 4, 4, 4)
    theirs = pipe(
        "a red mug",
        height=16,
        width=16,
        latents=FluxPipeline._pack_latents(x, 1, 4, 4, 4),
        sigmas=[0.9, 0.6, 0.3],
        num_inference_steps=3,
        output_type="latent",
    ).images
    times = pipe.scheduler.sigmas
    sigmas = times / (1 - times)
    condition = model.condition(embed_prompts(["a red mug"], folder))
    with torch.no_grad():
        ours = sample(lambda z, s: model.denoiser(z, s, condition), x * (1 + sigmas[0]), sigmas)
    torch.testing.assert_close(FluxPipeline._pack_latents(ours, 1, 4, 4, 4), theirs, rtol=1e-3, atol=1e-3)


def test_guidance_is_an_input_of_dev(pipeline_of, monkeypatch):
    from threestudio_msd.priors.families import flux

    folder = pipeline_of("flux")
    model = load_model(folder)
    condition = model.condition(embed_prompts(["a red mug"], folder))
    z = torch.randn(1, 4, 4, 4)
    with torch.no_grad():
        default = model.denoiser(z, torch.tensor(1.0), condition)
        monkeypatch.setattr(flux, "GUIDANCE", 100.0)
        assert not torch.equal(model.denoiser(z, torch.tensor(1.0), condition), default)


def test_the_resolution_is_the_autoencoders(pipeline_of):
    model = load_model(pipeline_of("flux"))
    assert model.resolution == 16
    assert model.latent_shape == (4, 4, 4)
