"""Stable Diffusion XL and 3: the same guidance modules on small random pipelines of those classes."""

from __future__ import annotations

import pytest
import threestudio
import threestudio_msd  # noqa: F401  (registers)
import torch
from guidance.stand_ins import cameras, renders
from pipelines import save_sd3_pipeline, save_xl_pipeline
from threestudio_msd.priors import PriorError, load_model


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("pipelines")
    return {"xl": str(save_xl_pipeline(root / "xl")), "sd3": str(save_sd3_pipeline(root / "sd3"))}


def processor(folder, **cfg):
    settings = {"pretrained_model_name_or_path": folder, "prompt": "a red mug", **cfg}
    return threestudio.find("msd-pipeline-prompt-processor")(settings)


def test_xl_denoiser_is_the_pipelines_own(folders):
    from diffusers import StableDiffusionXLPipeline

    pipe, model = StableDiffusionXLPipeline.from_pretrained(folders["xl"]), load_model(folders["xl"])
    tokens, _, pooled, _ = pipe.encode_prompt("a red mug", device="cpu", do_classifier_free_guidance=False)
    condition = model.condition(processor(folders["xl"])().text_embeddings)
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


def test_sd3_denoiser_is_the_pipelines_own(folders):
    from diffusers import StableDiffusion3Pipeline

    pipe, model = StableDiffusion3Pipeline.from_pretrained(folders["sd3"]), load_model(folders["sd3"])
    tokens, _, pooled, _ = pipe.encode_prompt(
        "a red mug", None, None, device="cpu", do_classifier_free_guidance=False
    )
    condition = model.condition(processor(folders["sd3"])().text_embeddings)
    torch.testing.assert_close(condition["encoder_hidden_states"], tokens)
    torch.testing.assert_close(condition["pooled_projections"], pooled)
    t = pipe.scheduler.sigmas[400]
    x = torch.randn(1, 4, 4, 4)
    with torch.no_grad():
        u = pipe.transformer(x, tokens, pooled, (t * 1000).expand(1)).sample
        ours = model.denoiser(x / (1 - t), t / (1 - t), condition)
    torch.testing.assert_close(ours, x - t * u, rtol=1e-3, atol=1e-3)
    # the levels are those of the scheduler, pure noise excepted
    times = pipe.scheduler.sigmas[pipe.scheduler.sigmas < 1]
    assert model.denoiser.schedule.sigma_max == pytest.approx(
        float(times.max() / (1 - times.max())), rel=1e-4
    )
    assert len(model.denoiser.schedule) == len(times)


@pytest.mark.parametrize("kind", ["xl", "sd3"])
def test_latents_decode_to_what_was_encoded_from_them(folders, kind):
    from diffusers import AutoencoderKL

    model, vae = load_model(folders[kind]), AutoencoderKL.from_pretrained(folders[kind], subfolder="vae")
    images = torch.rand(2, 3, 16, 16)
    shift = vae.config.shift_factor or 0
    with torch.no_grad():
        expected = (vae.encode(images * 2 - 1).latent_dist.mean - shift) * vae.config.scaling_factor
        decoded = (vae.decode(expected / vae.config.scaling_factor + shift).sample / 2 + 0.5).clamp(0, 1)
        torch.testing.assert_close(model.encode(images), expected)
    torch.testing.assert_close(model.decode(expected), decoded)


@pytest.mark.parametrize("name", ["msd", "sds", "sdi", "vsd"])
@pytest.mark.parametrize("kind", ["xl", "sd3"])
@pytest.mark.parametrize("use_perp_neg", [False, True])
def test_every_guidance_runs_on_them(folders, kind, name, use_perp_neg):
    settings = {"pretrained_model_name_or_path": folders[kind]}
    if (kind, name) == ("sd3", "vsd"):
        with pytest.raises(PriorError, match="VSD needs a UNet, not a SD3Transformer2DModel"):
            threestudio.find("msd-vsd-guidance")(settings)
        return
    rgb = renders()
    utils = processor(folders[kind], use_perp_neg=use_perp_neg)()
    out = threestudio.find("msd-guidance" if name == "msd" else f"msd-{name}-guidance")(settings)(
        rgb, utils, **cameras(2)
    )
    out[f"loss_{name}"].backward()
    assert torch.isfinite(out[f"loss_{name}"])
    assert rgb.grad.abs().sum() > 0


def test_the_empty_prompt_is_zero_for_xl_and_is_encoded_for_sd3(folders):
    assert processor(folders["xl"])().uncond_text_embeddings.abs().sum() == 0
    assert processor(folders["sd3"])().uncond_text_embeddings.abs().sum() > 0


def test_missing_text_encoders_are_told(tmp_path):
    with pytest.raises(PriorError, match="its text encoders cannot be loaded"):
        processor(str(tmp_path))
