"""The tiny prior's autoencoder: 64 x 64 RGB to 16 x 16 x 4 latents and back; an ``AutoencoderKL``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn

from .data import Images, chosen, uniform
from .loop import TrainConfig, fit, fit_rounds, quick_precision

KL_WEIGHT = 1e-4
SQUARED_WEIGHT = 4.0
CHROMA_WEIGHT = 12.0
LATENT_NOISE = 0.15  # largest deviation that the decoder learns to remove, in deviations of the latents
CROP, CROP_SHARE = 32, 0.75  # most steps see the middle alone: backgrounds are quickly learned
QUIET = (
    -6.0
)  # log-variance of the untrained posterior: at 0 its noise hides the colours, which are never learned


def new_autoencoder(channels: tuple[int, ...] = (16, 32, 64)) -> AutoencoderKL:
    """Make an untrained autoencoder that halves the side at every level but the last."""
    levels = len(channels)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=1,  # groups of few channels would level out the colours
        sample_size=64,
    )
    vae.set_attn_processor(AttnProcessor())  # the fused kernel is slower in bfloat16 on a CPU
    with torch.no_grad():
        vae.quant_conv.weight[4:] = 0
        vae.quant_conv.bias[4:] = QUIET
    return vae


def _recolour(images: Tensor, generator: torch.Generator) -> Tensor:
    """Change each image's contrast, saturation and tint, up to clipping.

    A normalised encoder may not distinguish a washed-out or a garish image from the
    right one; distillation then drifts there.
    """
    b = len(images)
    shapes, limits = ((b, 1, 1, 1), (b, 1, 1, 1), (b, 3, 1, 1)), (1.2, 1.2, 0.3)
    draws = (torch.empty(n).uniform_(-x, x, generator=generator) for n, x in zip(shapes, limits, strict=True))
    contrast, saturation, tint = draws
    grey, centre = images.mean(1, keepdim=True), images.mean((1, 2, 3), keepdim=True)
    saturated = grey + saturation.exp() * (images - grey)
    return (centre + contrast.exp() * (saturated - centre) + tint).clamp(0, 1)


def _middle(images: Tensor, generator: torch.Generator) -> Tensor:
    """Crop about the middle, where the object is, most times; else return the whole images."""
    if torch.rand((), generator=generator) > CROP_SHARE:
        return images
    spare = images.shape[-1] - CROP
    top, left = torch.randint(spare // 4, 3 * spare // 4 + 1, (2,), generator=generator).tolist()
    return images[..., top : top + CROP, left : left + CROP]


def _batch(images: Images, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    index = torch.randint(len(images), (n,), generator=generator)
    return perturb(_middle(images[index].float, generator), generator)


def perturb(images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Widen a batch to images that score distillation meets.

    These are flat colours, colour fields, blends, wrong colours, blur and noise.

    Args:
        images: ``[b, 3, s, s]`` in [0, 1].
        generator: The source of randomness.

    Returns:
        The input, and the target to reconstruct (the input without its noise); about
        two in three are left as they are.
    """
    b, size = len(images), images.shape[-2:]
    flat = torch.rand(b, 3, 1, 1, generator=generator).expand_as(images)
    field = F.interpolate(torch.rand(b, 3, 4, 4, generator=generator), size, mode="bicubic").clamp(0, 1)
    contrast, mix = (torch.rand(b, 1, 1, 1, generator=generator) for _ in range(2))
    blurred = F.interpolate(F.avg_pool2d(images, 4), size, mode="bilinear")
    target = torch.where(chosen(0.05, b, generator), flat, images)
    target = torch.where(chosen(0.05, b, generator), 0.5 + contrast * (field - 0.5), target)
    target = torch.where(chosen(0.06, b, generator), mix * images + (1 - mix) * images.flip(0), target)
    target = torch.where(chosen(0.05, b, generator), blurred, target)
    target = torch.where(chosen(0.15, b, generator), _recolour(target, generator), target)
    noise = uniform(generator, 0, 0.15, b, 1, 1, 1) * torch.randn(images.shape, generator=generator)
    return torch.where(chosen(0.08, b, generator), (target + noise).clamp(0, 1), target), target


def reconstruction_loss(images: Tensor, target: Tensor) -> Tensor:
    """Add L1 of pixels and of their differences at two scales, and squares for the colours.

    The differences keep small details. Objects differ in colour, which an autoencoder
    learns last, so its part of the square weighs more.
    """
    error = images - target
    chroma = error - error.mean(1, keepdim=True)
    loss = (
        error.abs().mean() + SQUARED_WEIGHT * error.square().mean() + CHROMA_WEIGHT * chroma.square().mean()
    )
    for scale in (1, 2):
        a, b = (F.avg_pool2d(x, scale) for x in (images, target))
        edges = sum((a.diff(dim=dim) - b.diff(dim=dim)).abs().mean() for dim in (-1, -2))
        loss = loss + edges / 2
    return loss


def train_autoencoder(
    images: Images, rounds: Sequence[TrainConfig], states: Path, channels: tuple[int, ...] = (16, 32, 64)
) -> AutoencoderKL:
    """Train the autoencoder and set its `scaling_factor` to give latents of true renders unit deviation.

    Args:
        images: True renders.
        rounds: Steps and rates of one training after the other; each starts from the
            averaged weights of the last (warm restarts), with its own seed.
        states: Folder of the rounds' states, to resume from.
        channels: Widths of the levels.
    """
    torch.manual_seed(rounds[0].seed)
    vae = new_autoencoder(channels).to(memory_format=torch.channels_last)

    def loss(batch: int, generator: torch.Generator) -> Tensor:
        source, target = _batch(images, batch, generator)
        with quick_precision():
            posterior = vae.encode(2 * source - 1).latent_dist
            decoded = vae.decode(posterior.sample(generator)).sample
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        return reconstruction_loss(decoded.float(), 2 * target - 1) + KL_WEIGHT * kl.float()

    seeded = (replace(config, seed=config.seed + k) for k, config in enumerate(rounds))
    fit_rounds("autoencoder", vae, ((config, partial(loss, config.batch)) for config in seeded), states)
    mean, std = encode_images(vae, images[slice(0, 2048)])
    deviation = (mean.var() + (std**2).mean()).sqrt()
    vae.register_to_config(scaling_factor=float(1 / deviation))
    return vae


def train_decoder(vae: AutoencoderKL, images: Images, config: TrainConfig, checkpoint: Path) -> None:
    """Continue the decoder's training in place, on noisy latents: it learns to remove a denoiser's errors.

    The encoder, and so the latents, stay as they are. Half of the latents get no noise;
    that of the others has a deviation up to `LATENT_NOISE` in scaled latents, drawn for
    each image.

    Args:
        vae: The trained autoencoder.
        images: True renders.
        config: Steps and rates.
        checkpoint: File of the state, to resume from.
    """
    decoder = nn.ModuleList((vae.decoder, vae.post_quant_conv)).to(memory_format=torch.channels_last)
    limit = LATENT_NOISE / vae.config.scaling_factor

    def loss(generator: torch.Generator) -> Tensor:
        source, target = _batch(images, config.batch, generator)
        with quick_precision():
            with torch.no_grad():
                z = vae.encode(2 * source - 1).latent_dist.mode().float()
            sigma = limit * (2 * torch.rand(len(z), 1, 1, 1, generator=generator) - 1).clamp_min(0)
            decoded = vae.decode(z + sigma * torch.randn(z.shape, generator=generator)).sample
        return reconstruction_loss(decoded.float(), 2 * target - 1)

    fit("decoder", decoder, loss, config, checkpoint)


@torch.no_grad()
def encode_images(vae: AutoencoderKL, images: Images, batch: int = 128) -> tuple[Tensor, Tensor]:
    """Encode every image: mean and deviation of its latent before scaling, both ``[n, 4, 16, 16]``."""
    with quick_precision():
        parts = [vae.encode(2 * (rgb / 255) - 1).latent_dist for rgb in images.rgb.split(batch)]
    return torch.cat([p.mean.float() for p in parts]), torch.cat([p.std.float() for p in parts])


@torch.no_grad()
def psnr(vae: AutoencoderKL, images: Images, batch: int = 128) -> float:
    """Average the peak signal-to-noise ratio of reconstructions (dB)."""
    decoded = [vae(2 * (rgb / 255) - 1).sample for rgb in images.rgb.split(batch)]
    return mean_psnr(torch.cat(decoded), images.float)


def mean_psnr(decoded: Tensor, rgb: Tensor) -> float:
    """Average the peak signal-to-noise ratio (dB) over images.

    Args:
        decoded: An autoencoder's output, ``[n, 3, h, w]`` in [-1, 1]; clipped to it.
        rgb: The truth, ``[n, 3, h, w]`` in [0, 1].
    """
    error = (decoded.clamp(-1, 1) + 1) / 2 - rgb
    return float(-10 * error.square().mean((1, 2, 3)).log10().mean())
