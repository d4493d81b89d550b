"""What the model card says: accuracy of guided DDIM samples, the latents, and the sample sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from PIL import Image
from torch import Tensor

from ..files import write_whole
from .autoencoder import encode_images, psnr
from .data import Images
from .judge import Judge
from .prior import sample
from .world import COLOURS, OBJECTS, Caption


@dataclass(frozen=True)
class Accuracy:
    """Fractions of `images` images whose object, whose colour, and both, the judge reads as asked."""

    object: float
    colour: float
    both: float
    images: int


def accuracy(judge: Judge, images: Tensor, captions: Sequence[Caption]) -> Accuracy:
    """Reads images ``[n, h, w, 3]`` in [0, 1] and compares with their captions."""
    right = judge.classify(images).right(captions)
    return Accuracy(**{name: fmean(hits) for name, hits in right.items()}, images=len(captions))


def ddim_accuracy(
    pipeline: StableDiffusionPipeline,
    judge: Judge,
    pairs: Sequence[tuple[str, str]],
    guidance_scale: float,
    per_pair: int = 4,
    steps: int = 50,
    seed: int = 0,
) -> Accuracy:
    """Accuracy of guided DDIM samples of ``"a COLOUR OBJECT"``, `per_pair` of each pair."""
    captions = [Caption(*pair) for pair in pairs for _ in range(per_pair)]
    images = sample(pipeline, [caption.text for caption in captions], guidance_scale, steps, seed)
    return accuracy(judge, images, captions)


@torch.no_grad()
def latent_statistics(vae: AutoencoderKL, images: Images) -> dict[str, float]:
    """What scaled latents look like: of true renders, and of the flat and noisy images that distillation
    starts from.
    """
    scale = vae.config.scaling_factor
    mean, std = encode_images(vae, images)

    def largest(rgb: Tensor) -> float:
        return float((scale * vae.encode(2 * rgb - 1).latent_dist.mode()).abs().max())

    generator = torch.Generator().manual_seed(0)
    flat = torch.rand(64, 3, 1, 1, generator=generator).expand(-1, -1, 64, 64)
    noise = torch.rand(64, 3, 64, 64, generator=generator)
    return {
        "psnr": psnr(vae, images),
        "scaling_factor": scale,
        "std": float(scale * mean.std()),
        "posterior_std": float(scale * std.mean()),
        "largest": float(scale * mean.abs().max()),
        "largest_of_grey": largest(torch.full((1, 3, 64, 64), 0.5)),
        "largest_of_flat_colours": largest(flat),
        "largest_of_noise": largest(noise),
    }


def save_sheet(
    pipeline: StableDiffusionPipeline, path: Path, guidance_scale: float, steps: int = 50, seed: int = 0
) -> None:
    """Draws one guided DDIM sample of every object (rows) in every colour (columns)."""
    captions = [Caption(name, colour) for name in OBJECTS for colour in COLOURS]
    images = sample(pipeline, [caption.text for caption in captions], guidance_scale, steps, seed)
    side = images.shape[1]
    grid = images.view(len(OBJECTS), len(COLOURS), side, side, 3).permute(0, 2, 1, 3, 4)
    sheet = (grid.reshape(len(OBJECTS) * side, len(COLOURS) * side, 3) * 255).round().byte().numpy()
    write_whole(path, partial(Image.fromarray(sheet).save, format="PNG", optimize=True))
