"""The tiny prior's autoencoder: 64 x 64 RGB to 16 x 16 x 4 latents and back; a ``AutoencoderKL``."""

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

from .data import Images
from .loop import TrainConfig, fit, fit_rounds, quick_precision

KL_WEIGHT = 1e-4
EDGE_WEIGHT = 1.0
SQUARED_WEIGHT = 4.0
CHROMA_WEIGHT = 12.0
LATENT_NOISE = 0.15  # what the decoder learns to mend, in deviations of the latents
CROP, CROP_SHARE = 32, 0.75  # most steps see the middle alone: backgrounds are quickly learned
QUIET = (
    -6.0
)  # log-variance of the untrained posterior: at 0 its noise drowns the colours, and they are never learned


def new_autoencoder(channels: tuple[int, ...] = (16, 32, 64)) -> AutoencoderKL:
    """An untrained autoencoder that halves the side at every level but the last."""
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
    """Another contrast, saturation and tint for each image, up to clipping.

    A normalised encoder may not tell a washed-out or a garish image from the right one; distillation then
    drifts there.
    """
    b = len(images)
    contrast = torch.exp(torch.empty(b, 1, 1, 1).uniform_(-1.2, 1.2, generator=generator))
    saturation = torch.exp(torch.empty(b, 1, 1, 1).uniform_(-1.2, 1.2, generator=generator))
    tint = torch.empty(b, 3, 1, 1).uniform_(-0.3, 0.3, generator=generator)
    grey = images.mean(1, keepdim=True)
    centre = images.mean((1, 2, 3), keepdim=True)
    return (centre + contrast * (grey + saturation * (images - grey) - centre) + tint).clamp(0, 1)


def _middle(images: Tensor, generator: torch.Generator) -> Tensor:
    """Most times a crop about the middle, where the object is; else the whole images."""
    if torch.rand((), generator=generator) > CROP_SHARE:
        return images
    spare = images.shape[-1] - CROP
    top, left = torch.randint(spare // 4, 3 * spare // 4 + 1, (2,), generator=generator).tolist()
    return images[..., top : top + CROP, left : left + CROP]


def _batch(images: Images, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Inputs and targets of a training step, in [0, 1]."""
    index = torch.randint(len(images), (n,), generator=generator)
    return perturb(_middle(images[index].float, generator), generator)


def perturb(images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Widens a batch to what score distillation meets: flat colours, colour fields, blends, wrong colours,
    blur, noise.

    Args:
        images: ``[b, 3, s, s]`` in [0, 1].
        generator: The randomness.

    Returns:
        The input, and the target to reconstruct (the input without its noise); about two in three are left
        alone.
    """
    b = len(images)

    def chosen(share: float) -> Tensor:
        return (torch.rand(b, generator=generator) < share)[:, None, None, None]

    flat = torch.rand(b, 3, 1, 1, generator=generator).expand_as(images)
    field = F.interpolate(
        torch.rand(b, 3, 4, 4, generator=generator), images.shape[-2:], mode="bicubic"
    ).clamp(0, 1)
    contrast = torch.rand(b, 1, 1, 1, generator=generator)
    mix = torch.rand(b, 1, 1, 1, generator=generator)
    blurred = F.interpolate(F.avg_pool2d(images, 4), images.shape[-2:], mode="bilinear")
    target = torch.where(chosen(0.05), flat, images)
    target = torch.where(chosen(0.05), 0.5 + contrast * (field - 0.5), target)
    target = torch.where(chosen(0.06), mix * images + (1 - mix) * images.flip(0), target)
    target = torch.where(chosen(0.05), blurred, target)
    target = torch.where(chosen(0.15), _recolour(target, generator), target)
    noise = (
        0.15 * torch.rand(b, 1, 1, 1, generator=generator) * torch.randn(images.shape, generator=generator)
    )
    return torch.where(chosen(0.08), (target + noise).clamp(0, 1), target), target


def _edges(images: Tensor) -> tuple[Tensor, Tensor]:
    return images.diff(dim=-1), images.diff(dim=-2)


def reconstruction_loss(images: Tensor, target: Tensor) -> Tensor:
    """L1 on the pixels and on their differences at two scales, which keeps small details crisp, and squares
    for the colours.

    Colour is what the objects differ by and the last that an autoencoder learns, so its part of the square
    weighs more.
    """
    error = images - target
    chroma = error - error.mean(1, keepdim=True)
    loss = (
        error.abs().mean() + SQUARED_WEIGHT * error.square().mean() + CHROMA_WEIGHT * chroma.square().mean()
    )
    for scale in (1, 2):
        a, b = (F.avg_pool2d(x, scale) for x in (images, target))
        loss = (
            loss
            + EDGE_WEIGHT * sum((u - v).abs().mean() for u, v in zip(_edges(a), _edges(b), strict=True)) / 2
        )
    return loss


def train_autoencoder(
    images: Images,
    rounds: Sequence[TrainConfig],
    states: Path,
    channels: tuple[int, ...] = (16, 32, 64),
    progress: bool = True,
) -> AutoencoderKL:
    """Trains the autoencoder and sets its `scaling_factor` so that the latents of true renders have unit
    deviation.

    Args:
        images: True renders.
        rounds: Steps and rates of one training after the other; each starts from the averaged weights of the
            last (warm restarts), with a seed of its own.
        states: Where the state of each round is kept, to resume from.
        channels: Widths of the levels.
        progress: Whether to show a bar.
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
    fit_rounds("autoencoder", vae, ((c, partial(loss, c.batch)) for c in seeded), states, progress)
    mean, std = encode_images(vae, images[slice(0, 2048)])
    deviation = (mean.var() + (std**2).mean()).sqrt()
    vae.register_to_config(scaling_factor=float(1 / deviation))
    return vae


def train_decoder(
    vae: AutoencoderKL, images: Images, config: TrainConfig, checkpoint: Path, progress: bool = True
) -> None:
    """Trains the decoder on, in place, on latents with noise, so that it mends what a denoiser gets wrong.

    The encoder, and so the latents, stay as they are. Half of the latents are left alone; the others get
    noise of a deviation up to `LATENT_NOISE` in scaled latents, from image to image.

    Args:
        vae: The trained autoencoder.
        images: True renders.
        config: Steps and rates.
        checkpoint: Where the state is kept, to resume from.
        progress: Whether to show a bar.
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

    fit("decoder", decoder, loss, config, checkpoint, progress)


@torch.no_grad()
def encode_images(vae: AutoencoderKL, images: Images, batch: int = 128) -> tuple[Tensor, Tensor]:
    """Posterior mean and deviation of every image's latent, both ``[n, 4, 16, 16]``, before scaling."""
    with quick_precision():
        parts = [
            vae.encode(2 * images[slice(i, i + batch)].float - 1).latent_dist
            for i in range(0, len(images), batch)
        ]
    return torch.cat([p.mean.float() for p in parts]), torch.cat([p.std.float() for p in parts])


@torch.no_grad()
def psnr(vae: AutoencoderKL, images: Images, batch: int = 128) -> float:
    """Mean peak signal-to-noise ratio of reconstructions (dB)."""
    parts = [images[slice(i, i + batch)].float for i in range(0, len(images), batch)]
    decoded = [vae(2 * rgb - 1).sample for rgb in parts]
    return mean_psnr(torch.cat(decoded), torch.cat(parts))


def mean_psnr(decoded: Tensor, rgb: Tensor) -> float:
    """Mean over images of the peak signal-to-noise ratio (dB).

    Args:
        decoded: What an autoencoder gives, ``[n, 3, h, w]`` in [-1, 1]; clipped to it.
        rgb: The truth, ``[n, 3, h, w]`` in [0, 1].
    """
    error = (decoded.clamp(-1, 1) + 1) / 2 - rgb
    return float(-10 * error.square().mean((1, 2, 3)).log10().mean())
