"""Loading of pipelines: the wrapped model is the model; what cannot be had is said."""

from __future__ import annotations

import pytest
import torch
from pipelines import save_pipeline
from threestudio_msd.distillation import sample
from threestudio_msd.priors import CFG, PriorError, load_model


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_denoiser_is_the_schedulers_own_clean_estimate(tmp_path, prediction_type):
    from diffusers import StableDiffusionPipeline

    folder = save_pipeline(tmp_path / "sd", prediction_type)
    model = load_model(str(folder))
    pipe = StableDiffusionPipeline.from_pretrained(folder)
    x, text = torch.randn(2, 4, 4, 4), torch.randn(2, 8, 16)
    for t in (1, 400, 999):
        abar = pipe.scheduler.alphas_cumprod[t]
        sigma = ((1 - abar) / abar).sqrt()
        with torch.no_grad():
            raw = pipe.unet(x, t, text).sample
            ours = model.denoiser(x / abar.sqrt(), sigma, {"encoder_hidden_states": text})
        pipe.scheduler.set_timesteps(1000)
        theirs = pipe.scheduler.step(raw, t, x).pred_original_sample
        assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def test_ddim_sampling_equals_diffusers(random_pipeline):
    """Euler in sigma, snapped to the training steps, is diffusers' DDIM, to rounding."""
    from diffusers import StableDiffusionPipeline

    model = load_model(str(random_pipeline))
    pipe = StableDiffusionPipeline.from_pretrained(random_pipeline)
    pipe.scheduler.set_timesteps(5)
    schedule = model.denoiser.schedule
    sigmas = torch.cat([schedule.sigma_at(pipe.scheduler.timesteps), torch.zeros(1)])
    x = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    embeddings = torch.randn(4, 8, 16, generator=torch.Generator().manual_seed(1))
    cond, uncond = ({"encoder_hidden_states": e} for e in embeddings.chunk(2))
    z = x * (1 + sigmas[0] ** 2).sqrt()
    with torch.no_grad():
        ours = sample(CFG(model.denoiser, cond, uncond, 3.0).denoiser, z, sigmas)
        for t in pipe.scheduler.timesteps:
            eps_cond, eps_uncond = pipe.unet(torch.cat([x, x]), t, embeddings).sample.chunk(2)
            x = pipe.scheduler.step(eps_uncond + 3.0 * (eps_cond - eps_uncond), t, x).prev_sample
    # diffusers' last step goes to its first training level rather than to 0
    assert torch.allclose(ours, x, atol=0.05 * float(x.abs().max()))


def test_encode_decode_are_the_pipelines(random_pipeline):
    model = load_model(str(random_pipeline))
    images = torch.rand(2, 3, 16, 16)
    latents = model.encode(images)
    assert model.resolution == 16
    assert latents.shape == (2, 4, 4, 4)
    assert torch.allclose(
        latents, model.vae.encode(images * 2 - 1).latent_dist.mean * model.vae.config.scaling_factor
    )
    assert model.decode(latents).shape == images.shape


@pytest.mark.parametrize("model", ["no-such-owner/no-such-model", "missing/folder/here/at all"])
def test_a_missing_model_is_named_with_advice(model):
    with pytest.raises(PriorError, match=model) as caught:
        load_model(model)
    assert "pretrained_model_name_or_path" in str(caught.value)


def test_a_broken_folder_is_named(tmp_path):
    with pytest.raises(PriorError, match="not a readable pipeline folder"):
        load_model(str(tmp_path))


def test_an_unknown_dtype_is_refused(random_pipeline):
    with pytest.raises(PriorError, match="float64"):
        load_model(str(random_pipeline), dtype="float64")


def test_bfloat16_agrees_with_float32(random_pipeline):
    z, text = torch.randn(2, 4, 4, 4), {"encoder_hidden_states": torch.randn(2, 8, 16)}
    with torch.no_grad():
        full, half = (
            load_model(str(random_pipeline), dtype=d).denoiser(z, torch.tensor(1.0), text)
            for d in ("float32", "bfloat16")
        )
    assert full.dtype == half.dtype == torch.float32
    assert torch.allclose(full, half, atol=0.1)
