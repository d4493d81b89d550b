"""The autoencoder: latents stay where a denoiser has learned them, and the decoder mends noise in them."""

from __future__ import annotations

import pytest
import torch
from msd_lab.training.autoencoder import mean_psnr, new_autoencoder, train_autoencoder, train_decoder
from msd_lab.training.loop import TrainConfig
from msd_lab.training.prior import load_prior

FEW = TrainConfig(steps=2, batch=4, lr=1e-3)


@pytest.fixture(scope="module")
def images(renders):
    return renders[:24]


def weights(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(one, other):
    return {name: torch.equal(tensor, other[name]) for name, tensor in one.items()}


def test_every_round_of_the_autoencoder_goes_on_from_the_last(images, tmp_path):
    two = train_autoencoder(images, (FEW, FEW), tmp_path / "two", (4, 4, 8))
    one = train_autoencoder(images, (FEW,), tmp_path / "one", (4, 4, 8))
    (tmp_path / "resumed").mkdir()
    (tmp_path / "one/round-0.pt").rename(tmp_path / "resumed/round-0.pt")
    resumed = train_autoencoder(images, (FEW, FEW), tmp_path / "resumed", (4, 4, 8))
    assert not all(same(weights(one), weights(two)).values())
    assert all(same(weights(resumed), weights(two)).values())


def test_training_the_decoder_leaves_the_latents_as_they_are(images, tmp_path):
    torch.manual_seed(0)
    vae = new_autoencoder((4, 4, 8))
    before = weights(vae)
    train_decoder(vae, images, FEW, tmp_path / "decoder.pt")
    kept = same(before, weights(vae))
    assert all(kept[name] for name in kept if name.startswith(("encoder", "quant_conv")))
    assert not any(kept[name] for name in kept if name.startswith("decoder") and name.endswith("weight"))


@torch.no_grad()
def test_the_decoder_that_ships_mends_noise_in_latents(images):
    vae = load_prior().vae
    z = vae.encode(2 * images.float - 1).latent_dist.mode()
    noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(0))

    def psnr(sigma):
        return mean_psnr(vae.decode(z + sigma / vae.config.scaling_factor * noise).sample, images.float)

    assert psnr(0.0) > 32
    assert psnr(0.1) > psnr(0.0) - 2.5
