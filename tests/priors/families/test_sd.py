"""Stable Diffusion: the wrapped model is the model."""

from __future__ import annotations

import pytest
import torch
from msd_lab.bench.random_pipelines import save_random_pipeline
from threestudio_msd.distillation import sample
from threestudio_msd.priors import CFG, embed_prompts, load_model


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_denoiser_is_the_schedulers_own_clean_estimate(tmp_path, prediction_type):
    from diffusers import StableDiffusionPipeline

    changes = {"scheduler": {"prediction_type": prediction_type}}
    folder = save_random_pipeline(tmp_path / "sd", "sd15", changes=changes)
    model = load_model(str(folder))
    pipe = StableDiffusionPipeline.from_pretrained(folder)
    x, text = torch.randn(2, 4, 4, 4), torch.randn(2, 8, 16)
    for t in (1, 400, 999):
        abar = pipe.scheduler.alphas_cumprod[t]
        sigma = ((1 - abar) / abar).sqrt()
        with torch.no_grad():
            raw = pipe.unet(x, t, text).sample
            ours = model.denoiser(x / abar.sqrt(), sigma, model.condition(text))
        pipe.scheduler.set_timesteps(1000)
        theirs = pipe.scheduler.step(raw, t, x).pred_original_sample
        assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def test_ddim_sampling_equals_diffusers(random_pipeline):
    """Euler in sigma, snapped to the training steps, is diffusers' DDIM, to rounding."""
    from diffusers import StableDiffusionPipeline

    model = load_model(str(random_pipeline))
    pipe = StableDiffusionPipeline.from_pretrained(random_pipeline)
    pipe.scheduler.set_timesteps(5)
    sigmas = torch.cat([model.denoiser.schedule.sigma_at(pipe.scheduler.timesteps), torch.zeros(1)])
    x = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    embeddings = torch.randn(4, 8, 16, generator=torch.Generator().manual_seed(1))
    cond, uncond = map(model.condition, embeddings.chunk(2))
    z = x * (1 + sigmas[0] ** 2).sqrt()
    with torch.no_grad():
        ours = sample(CFG(model.denoiser, cond, uncond, 3.0).denoiser, z, sigmas)
        for t in pipe.scheduler.timesteps:
            eps_cond, eps_uncond = pipe.unet(torch.cat([x, x]), t, embeddings).sample.chunk(2)
            x = pipe.scheduler.step(eps_uncond + 3.0 * (eps_cond - eps_uncond), t, x).prev_sample
    # diffusers' last step goes to its first training level rather than to 0
    assert torch.allclose(ours, x, atol=0.05 * float(x.abs().max()))


@pytest.mark.new_diffusers
def test_embeddings_are_those_of_the_pipeline_and_of_threestudios_processor(random_pipeline):
    import threestudio
    from diffusers import StableDiffusionPipeline

    pipe, folder = StableDiffusionPipeline.from_pretrained(random_pipeline), str(random_pipeline)
    theirs, _ = pipe.encode_prompt("a mug", "cpu", 1, False)
    settings = {"pretrained_model_name_or_path": folder, "prompt": "a mug", "use_cache": False}
    processor = threestudio.find("stable-diffusion-prompt-processor")(settings)
    ours = embed_prompts(["a mug"], folder)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(ours, processor().text_embeddings)
