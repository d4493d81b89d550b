"""A tiny autoencoder in the place of the model's own."""

from __future__ import annotations

import pytest
import threestudio
import torch
from guidance.stand_ins import PromptUtils, cameras, renders
from threestudio_msd.priors import PriorError, load_model
from threestudio_msd.priors.codec import TinyLatentCodec

pytestmark = pytest.mark.new_diffusers


def saved(folder, **settings):
    """A random AutoencoderTiny of 16 x 16 images and 4 x 4 latents, as a folder."""
    from diffusers import AutoencoderTiny

    widths = {f"{side}_block_out_channels": (8, 8, 8) for side in ("encoder", "decoder")}
    blocks = {"num_encoder_blocks": (1, 1, 1), "num_decoder_blocks": (1, 1, 1)}
    torch.manual_seed(0)
    AutoencoderTiny(**{**widths, **blocks, **settings}).save_pretrained(folder)
    return str(folder)


def test_it_encodes_and_decodes_as_its_class_does(random_pipeline, tmp_path):
    from diffusers import AutoencoderTiny

    folder = saved(tmp_path / "taesd")
    model, vae = load_model(str(random_pipeline), tiny_vae=folder), AutoencoderTiny.from_pretrained(folder)
    images = torch.rand(2, 3, 16, 16)
    assert isinstance(model.codec, TinyLatentCodec)
    assert model.latent_shape == (4, 4, 4)
    with torch.no_grad():
        latents = vae.encode(images * 2 - 1).latents
        torch.testing.assert_close(model.encode(images), latents)
        expected = (vae.decode(latents).sample / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(model.decode(latents), expected)


@pytest.mark.parametrize("loss_space", ["latent", "image"])
def test_a_guidance_takes_its_loss_through_it(random_pipeline, tmp_path, loss_space):
    settings = {"tiny_vae_name_or_path": saved(tmp_path / "taesd"), "loss_space": loss_space}
    model = {"pretrained_model_name_or_path": str(random_pipeline), "trainer_max_steps": 4}
    rgb = renders()
    guidance = threestudio.find("msd-guidance")({**model, **settings})
    guidance(rgb, PromptUtils(), **cameras(2))["loss_msd"].backward()
    assert rgb.grad.isfinite().all() and rgb.grad.abs().sum() > 0


def test_slicing_acts_on_it_too(random_pipeline, tmp_path):
    options = {"enable_vae_slicing": True, "enable_channels_last_format": True}
    settings = {"tiny_vae_name_or_path": saved(tmp_path / "taesd"), **options}
    guidance = threestudio.find("msd-sds-guidance")(
        {"pretrained_model_name_or_path": str(random_pipeline), **settings}
    )
    assert guidance.model.codec.vae.use_slicing


def test_what_cannot_be_used_is_told(random_pipeline, pipeline_of, tmp_path):
    other = saved(tmp_path / "taesd3", latent_channels=16)
    with pytest.raises(PriorError, match=r"has 16 latent channels, .* has 4"):
        load_model(str(random_pipeline), tiny_vae=other)
    with pytest.raises(PriorError, match="denoises pixels"):
        load_model(pipeline_of("if_"), tiny_vae=other)
    with pytest.raises(PriorError, match="expected an AutoencoderTiny, got AutoencoderKL"):
        load_model(str(random_pipeline), tiny_vae=str(random_pipeline / "vae"))
    (tmp_path / "taesd3" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(PriorError, match="taesd3: cannot be read"):
        load_model(str(random_pipeline), tiny_vae=other)
