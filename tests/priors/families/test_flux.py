"""Flux.1: the wrapped model is the model, packed latents and guidance embedding included."""

from __future__ import annotations

import pytest
import threestudio
import torch
from msd_lab.bench.random_pipelines import save_random_pipeline
from threestudio_msd.distillation import sample
from threestudio_msd.fields import FieldError
from threestudio_msd.priors import embed_prompts, load_model
from threestudio_msd.priors.folder import ModelFolder

pytestmark = pytest.mark.new_diffusers


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


def denoised(folder, **options):
    """The random model's estimate of one state, with its family's options."""
    model = load_model(folder, options=options)
    condition = model.condition(embed_prompts(["a red mug"], folder))
    z = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model.denoiser(z, torch.tensor(1.0), condition)


def test_its_distilled_guidance_is_an_input_of_dev(pipeline_of):
    folder = pipeline_of("flux")
    default = denoised(folder)
    torch.testing.assert_close(denoised(folder, distilled_guidance_scale=3.5), default, rtol=0, atol=0)
    assert not torch.allclose(denoised(folder, distilled_guidance_scale=7), default)


def test_to_schnell_it_means_nothing(tmp_path):
    changes = {"transformer": {"guidance_embeds": False}}
    folder = str(save_random_pipeline(tmp_path / "flux", "flux", changes=changes))
    torch.testing.assert_close(denoised(folder), denoised(folder, distilled_guidance_scale=7), rtol=0, atol=0)


def test_the_config_hands_it_on(pipeline_of):
    settings = {
        "pretrained_model_name_or_path": pipeline_of("flux"),
        "model_options": {"distilled_guidance_scale": 7},
        "trainer_max_steps": 2,
    }
    model = threestudio.find("msd-guidance")(settings).model
    assert model.denoiser.network.args[1] == 7


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"distilled_guidance": 7},
            "distilled_guidance: unknown key; did you mean 'distilled_guidance_scale'",
        ),
        (
            {"distilled_guidance_scale": -1},
            "distilled_guidance_scale: expected a number of at least 0, got -1",
        ),
    ],
    ids=["name", "value"],
)
def test_what_the_family_does_not_take_is_told_before_weights_are_read(
    pipeline_of, monkeypatch, options, told
):
    monkeypatch.setattr(ModelFolder, "load", None)
    settings = {"pretrained_model_name_or_path": pipeline_of("flux"), "model_options": options}
    with pytest.raises(FieldError, match=f"^system.guidance.model_options.{told}.*Flux"):
        threestudio.find("msd-guidance")({**settings, "trainer_max_steps": 2})


def test_other_families_leave_nothing_to_choose(random_pipeline):
    with pytest.raises(FieldError, match="unknown key; known: none"):
        load_model(str(random_pipeline), options={"distilled_guidance_scale": 7})


def test_the_resolution_is_the_autoencoders(pipeline_of):
    model = load_model(pipeline_of("flux"))
    assert model.resolution == 16
    assert model.latent_shape == (4, 4, 4)
