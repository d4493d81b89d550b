"""Codecs: latents of an autoencoder, and pixels."""

from __future__ import annotations

import pytest
import torch
from msd_lab.bench.architectures import vae as architecture
from msd_lab.bench.random_pipelines import build
from threestudio_msd.priors.codec import LatentCodec, PixelCodec


def small_vae(**settings):
    """An autoencoder of 16 x 16 images and 4 x 4 latents."""
    part = architecture(512, **settings)
    return build(part, part.config("tiny"))


@pytest.mark.new_diffusers
@pytest.mark.parametrize(("shift", "scaling"), [(None, 0.18215), (0.06, 1.5)])
def test_latents_are_the_autoencoders_shifted_and_scaled(shift, scaling):
    torch.manual_seed(0)
    vae = small_vae(shift_factor=shift, scaling_factor=scaling)
    codec, images = LatentCodec(vae), torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        expected = (vae.encode(images * 2 - 1).latent_dist.mean - (shift or 0)) * scaling
        decoded = (vae.decode(expected / scaling + (shift or 0)).sample / 2 + 0.5).clamp(0, 1)
        torch.testing.assert_close(codec.encode(images), expected)
    torch.testing.assert_close(codec.decode(expected), decoded)
    assert codec.shape(16) == tuple(expected.shape[1:])


@pytest.mark.parametrize("codec", ["latents", "pixels"])
def test_encoding_has_a_gradient_and_decoding_has_none(codec):
    codec = LatentCodec(small_vae()) if codec == "latents" else PixelCodec()
    images = torch.rand(1, 3, 16, 16, requires_grad=True)
    encoded = codec.encode(images)
    encoded.square().sum().backward()
    assert images.grad.abs().sum() > 0
    assert not codec.decode(encoded).requires_grad


def test_pixels_come_back():
    images = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(PixelCodec().decode(PixelCodec().encode(images)), images)
    assert PixelCodec().shape(8) == (3, 8, 8)
