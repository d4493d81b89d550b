"""Between images and what a model denoises: scaled latents of an autoencoder, or pixels
in [-1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ..distillation.protocols import Batch

Images = Float[Tensor, "B 3 H W"]
"""Images in [0, 1]."""


@runtime_checkable
class Codec(Protocol):
    """Encodes images to what a model denoises, latents or pixels, and decodes them."""

    def encode(self, images: Images) -> Batch:
        """Encode images `[B, 3, H, W]` in [0, 1] to latents `[B, C, h, w]`;
        differentiable.
        """

    def decode(self, latents: Batch) -> Images:
        """Decode latents `[B, C, h, w]` to images `[B, 3, H, W]` in [0, 1], without a
        gradient.
        """

    def shape(self, resolution: int) -> tuple[int, int, int]:
        """Return channels, height and width of the latents of a square image of
        `resolution` pixels a side.
        """


@dataclass(frozen=True)
class LatentCodec:
    """A codec to the scaled latents of an AutoencoderKL: (latent - shift) * scaling,
    both from its configuration.

    `encode` maps images `[B, 3, H, W]` in [0, 1] to latents `[B, C, h, w]`, and
    `decode` maps them back, without a gradient.

    Attributes:
        vae: A diffusers AutoencoderKL.
    """

    vae: Any

    def encode(self, images: Images) -> Batch:
        latents = self.unscaled((images * 2 - 1).to(self.vae.dtype))
        return self.scale(latents.to(images.dtype))

    def unscaled(self, images: Images) -> Batch:
        """Return the mean of the autoencoder's posterior, without shift and scaling,
        `[B, C, h, w]`.

        Args:
            images: Images in [-1, 1], `[B, 3, H, W]`.
        """
        return self.vae.encode(images).latent_dist.mode()

    @torch.no_grad()
    def decode(self, latents: Batch) -> Images:
        images = self.decoded(self.unscale(latents).to(self.vae.dtype))
        return (images.to(latents.dtype) / 2 + 0.5).clamp(0, 1)

    def decoded(self, latents: Batch) -> Images:
        """Decode latents as the autoencoder has them to images in [-1, 1]."""
        return self.vae.decode(latents).sample

    def scale(self, latents: Batch) -> Batch:
        """Turn the autoencoder's latents into the model's."""
        return (latents - self._shift) * self.vae.config.scaling_factor

    def unscale(self, latents: Batch) -> Batch:
        """Undo `scale`."""
        return latents / self.vae.config.scaling_factor + self._shift

    def shape(self, resolution: int) -> tuple[int, int, int]:
        size = resolution // self.factor
        return self.vae.config.latent_channels, size, size

    @property
    def factor(self) -> int:
        """Pixels per latent, along each side."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def _shift(self) -> float:
        return getattr(self.vae.config, "shift_factor", None) or 0.0


class TinyLatentCodec(LatentCodec):
    """A codec to the latents of a distilled AutoencoderTiny (TAESD), which are those
    that the model denoises.
    """

    def unscaled(self, images: Images) -> Batch:
        return self.vae.encode(images).latents


class PixelCodec:
    """A codec of models that denoise pixels: images in [-1, 1], without an autoencoder."""

    def encode(self, images: Images) -> Batch:
        return images * 2 - 1

    @torch.no_grad()
    def decode(self, latents: Batch) -> Images:
        return (latents / 2 + 0.5).clamp(0, 1)

    def shape(self, resolution: int) -> tuple[int, int, int]:
        return 3, resolution, resolution
