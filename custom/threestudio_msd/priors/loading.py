"""Loading of pretrained diffusion models, safetensors only: the model and, apart, its text encoders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from ..distillation.protocols import Batch
from ..errors import did_you_mean
from .denoisers import Condition, ConditionalDenoiser
from .errors import PriorError, named
from .family import Embeddings, Parts
from .folder import ModelFolder, open_model
from .spaces import Images, Space

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class PretrainedModel:
    """A pretrained diffusion model, frozen.

    Attributes:
        denoiser: The conditional denoiser.
        space: Where it denoises: an autoencoder's latents, or pixels.
        backbone: The UNet or transformer inside `denoiser`, for adapters.
        resolution: Height and width of the images it was made for, pixels.
        condition: What `denoiser` is conditioned on, from the prompt processor's embeddings `[B, N, C]`.
    """

    denoiser: ConditionalDenoiser
    space: Space
    backbone: nn.Module
    resolution: int
    condition: Callable[[Embeddings], Condition]

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of what is denoised."""
        return self.space.shape(self.resolution)

    def encode(self, images: Images) -> Batch:
        """What is denoised, of images `[B, 3, H, W]` in [0, 1]; differentiable."""
        return self.space.encode(images)

    def decode(self, latents: Batch) -> Images:
        """Images `[B, 3, H, W]` in [0, 1]; no gradient."""
        return self.space.decode(latents)


def load_model(
    model: str, revision: str | None = None, dtype: str = "auto", device: torch.device | str = "cpu"
) -> PretrainedModel:
    """Load a pipeline's network, autoencoder and noise levels, without its text encoders.

    Args:
        model: Hub id or folder, of one of the families in `families/`.
        revision: Branch, tag or commit on the hub; None is its default.
        dtype: `float32`, `float16`, `bfloat16`, or `auto`: the family's half precision on a GPU, float32 on a
            CPU.
        device: Where to put it.

    Returns:
        The model, frozen and in evaluation mode.

    Raises:
        PriorError: If the dtype is unknown, the model cannot be found, reached or read, or is of no known
            family.
    """
    if dtype not in (*DTYPES, "auto"):
        hint = did_you_mean(dtype, DTYPES)
        raise PriorError(f"unknown dtype {dtype!r}{hint}; expected auto, {', '.join(DTYPES)}")
    folder = open_model(model, revision)
    precision = DTYPES.get(dtype) or (
        folder.family.half if torch.device(device).type == "cuda" else torch.float32
    )
    parts = _load_parts(folder, precision, device)
    family = folder.family
    with named(folder.name):
        return PretrainedModel(
            family.denoiser(parts, precision),
            family.space(parts),
            parts.backbone,
            family.resolution(parts),
            partial(family.condition, parts),
        )


def _load_parts(folder: ModelFolder, dtype: torch.dtype, device: torch.device | str) -> Parts:
    family = folder.family
    part, cls = family.backbone
    backbone = folder.load(part, family.diffusers(cls), dtype)
    vae = folder.load(family.vae, family.diffusers("AutoencoderKL"), dtype) if family.vae else None
    for module in filter(None, (backbone, vae)):
        module.requires_grad_(False).eval().to(device)
    if vae is not None and getattr(vae.config, "force_upcast", False):
        vae.float()  # overflows in float16
    return Parts(backbone, folder.scheduler(), vae)


def embed_prompts(
    prompts: list[str], model: str, revision: str | None = None, device: torch.device | str = "cpu"
) -> Embeddings:
    """Embed prompts with a pipeline's own text encoders, which are loaded and freed.

    Args:
        prompts: P prompts.
        model: As for `load_model`.
        revision: As for `load_model`.
        device: Where to compute.

    Returns:
        `[P, N, C]`, in float32; what `PretrainedModel.condition` takes.

    Raises:
        PriorError: As `load_model`.
    """
    folder = open_model(model, revision, text=True)
    with torch.no_grad():
        return folder.family.embed(folder.text_pipeline().to(device), prompts)
