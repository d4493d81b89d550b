"""Where a model denoises: scaled latents of an autoencoder, or the pixels themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..distillation.protocols import Batch

Images = Float[Tensor, "B 3 H W"]
"""Images in [0, 1]."""


@runtime_checkable
class Space(Protocol):
    """From images to what the model denoises, and back."""

    def encode(self, images: Images) -> Batch:
        """What the model denoises, `[B, C, h, w]`, of images `[B, 3, H, W]` in [0, 1]; differentiable."""

    def decode(self, latents: Batch) -> Images:
        """Images `[B, 3, H, W]` in [0, 1]; no gradient."""

    def shape(self, resolution: int) -> tuple[int, int, int]:
        """Channels, height and width of what square images of a resolution in pixels are encoded to."""


@dataclass(frozen=True)
class Latents:
    """The scaled latents of an autoencoder: (latent - shift) * scaling, as diffusers' configs have the two.

    Attributes:
        vae: A diffusers AutoencoderKL.
    """

    vae: nn.Module

    def encode(self, images: Images) -> Batch:
        """See `Space.encode`."""
        latents = self.unscaled((images * 2 - 1).to(self._dtype))
        return (latents.to(images.dtype) - self._shift) * self.vae.config.scaling_factor

    def unscaled(self, images: Images) -> Batch:
        """The mean of the autoencoder's posterior of images in [-1, 1]."""
        return self.vae.encode(images).latent_dist.mode()

    @torch.no_grad()
    def decode(self, latents: Batch) -> Images:
        """See `Space.decode`."""
        unscaled = latents / self.vae.config.scaling_factor + self._shift
        images = self.vae.decode(unscaled.to(self._dtype)).sample
        return (images.to(latents.dtype) / 2 + 0.5).clamp(0, 1)

    def shape(self, resolution: int) -> tuple[int, int, int]:
        """See `Space.shape`."""
        size = resolution // self.factor
        return self.vae.config.latent_channels, size, size

    @property
    def factor(self) -> int:
        """Pixels a latent, along each side."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.vae.parameters()).dtype

    @property
    def _shift(self) -> float:
        return getattr(self.vae.config, "shift_factor", None) or 0.0


class TinyLatents(Latents):
    """The latents of a distilled autoencoder, TAESD or its like, which are those that the model denoises.

    Attributes:
        vae: A diffusers AutoencoderTiny.
    """

    def unscaled(self, images: Images) -> Batch:
        """The encoder's output for images in [-1, 1]."""
        return self.vae.encode(images).latents


class Pixels:
    """Images in [-1, 1]: no autoencoder."""

    def encode(self, images: Images) -> Batch:
        """See `Space.encode`."""
        return images * 2 - 1

    @torch.no_grad()
    def decode(self, latents: Batch) -> Images:
        """See `Space.decode`."""
        return (latents / 2 + 0.5).clamp(0, 1)

    def shape(self, resolution: int) -> tuple[int, int, int]:
        """See `Space.shape`."""
        return 3, resolution, resolution
