"""Latents and pixels."""

from __future__ import annotations

import pytest
import torch
from msd_lab.bench.architectures import vae as architecture
from msd_lab.bench.random_pipelines import build
from threestudio_msd.priors.spaces import Latents, Pixels


def small_vae(**settings):
    """An autoencoder of 16 x 16 images and 4 x 4 latents."""
    return build(architecture("tiny", 4, 16, **settings))


@pytest.mark.parametrize(("shift", "scaling"), [(None, 0.18215), (0.06, 1.5)])
def test_latents_are_the_autoencoders_shifted_and_scaled(shift, scaling):
    torch.manual_seed(0)
    vae = small_vae(shift_factor=shift, scaling_factor=scaling)
    space, images = Latents(vae), torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        expected = (vae.encode(images * 2 - 1).latent_dist.mean - (shift or 0)) * scaling
        decoded = (vae.decode(expected / scaling + (shift or 0)).sample / 2 + 0.5).clamp(0, 1)
        torch.testing.assert_close(space.encode(images), expected)
    torch.testing.assert_close(space.decode(expected), decoded)
    assert space.shape(16) == tuple(expected.shape[1:])


@pytest.mark.parametrize("space", [Latents(small_vae()), Pixels()], ids=["latents", "pixels"])
def test_encoding_has_a_gradient_and_decoding_has_none(space):
    images = torch.rand(1, 3, 16, 16, requires_grad=True)
    encoded = space.encode(images)
    encoded.square().sum().backward()
    assert images.grad.abs().sum() > 0
    assert not space.decode(encoded).requires_grad


def test_pixels_come_back():
    images = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(Pixels().decode(Pixels().encode(images)), images)
    assert Pixels().shape(8) == (3, 8, 8)
