"""Loading of pretrained diffusion models, safetensors only: the model and, apart, its text encoders."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from ..distillation.protocols import Batch
from ..errors import did_you_mean
from .denoisers import Condition, ConditionalDenoiser
from .errors import PriorError, named
from .family import TINY_VAE, Embeddings, Family, Parts
from .folder import CONFIG, ModelFolder, load_single, open_model
from .spaces import Images, Space

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
OTHER_NAMES = {"fp32": "float32", "full": "float32", "fp16": "float16", "half": "float16", "bf16": "bfloat16"}
"""What a dtype is called elsewhere."""


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
    model: str,
    revision: str | None = None,
    dtype: str = "auto",
    device: torch.device | str = "cpu",
    tiny_vae: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> PretrainedModel:
    """Load a pipeline's network, autoencoder and noise levels, without its text encoders.

    Args:
        model: Hub id or folder, of one of the families in `families/`.
        revision: Branch, tag or commit on the hub; None is its default.
        dtype: `float32`, `float16`, `bfloat16`, or `auto`: the family's half precision on a GPU, float32 on a
            CPU.
        device: Where to put it.
        tiny_vae: Hub id or folder of an AutoencoderTiny that takes the place of the model's autoencoder.
        options: What its family leaves to choose; `Family.options` has the names.

    Returns:
        The model, frozen and in evaluation mode.

    Raises:
        PriorError: If the dtype is unknown, the model cannot be found, reached or read, or is of no known
            family.
        FieldError: If its family does not have an option, or an option does not take its value.
    """
    if dtype not in (*DTYPES, "auto"):
        hint = did_you_mean(OTHER_NAMES.get(dtype, dtype), DTYPES)
        raise PriorError(f"unknown dtype {dtype!r}{hint}; expected auto, {', '.join(DTYPES)}")
    folder = open_model(model, revision)
    precision = DTYPES.get(dtype) or (
        folder.family.half if torch.device(device).type == "cuda" else torch.float32
    )
    family = folder.family
    parts = _load_parts(folder, family.chosen(options or {}), precision, device, tiny_vae)
    with named(folder.name):
        return assembled(family, parts, precision)


def assembled(family: Family, parts: Parts, dtype: torch.dtype) -> PretrainedModel:
    """A model of its parts, which compute in a precision.

    Raises:
        PriorError: If the parts do not fit the family.
    """
    return PretrainedModel(
        family.denoiser(parts, dtype),
        family.space(parts),
        parts.backbone,
        family.resolution(parts),
        partial(family.condition, parts),
    )


def _load_parts(
    folder: ModelFolder,
    options: Any,
    dtype: torch.dtype,
    device: torch.device | str,
    tiny_vae: str | None,
) -> Parts:
    family = folder.family
    part, cls = family.backbone
    backbone = folder.load(part, family.diffusers(cls), dtype)
    vae = _load_vae(folder, dtype, tiny_vae)
    for module in filter(None, (backbone, vae)):
        module.requires_grad_(False).eval().to(device)
    if vae is not None and getattr(vae.config, "force_upcast", False):
        vae.float()  # overflows in float16
    return Parts(backbone, folder.scheduler(), vae, options)


def _load_vae(folder: ModelFolder, dtype: torch.dtype, tiny_vae: str | None) -> nn.Module | None:
    """A model's autoencoder, or the tiny one in its place.

    Raises:
        PriorError: If the tiny one is of other latents, or the model has none.
    """
    family = folder.family
    if tiny_vae is None:
        return folder.load(family.vae, family.diffusers("AutoencoderKL"), dtype) if family.vae else None
    if family.vae is None:
        raise PriorError(f"{tiny_vae}: {folder.name} denoises pixels, and has no autoencoder to replace")
    vae = load_single(tiny_vae, family.diffusers(TINY_VAE), dtype)
    config = json.loads((folder.path / family.vae / CONFIG).read_text(encoding="utf-8"))
    theirs, ours = config.get("latent_channels", 4), vae.config.latent_channels
    if theirs != ours:
        raise PriorError(
            f"{tiny_vae}: has {ours} latent channels, {folder.name} has {theirs}: "
            "take the one distilled from its autoencoder"
        )
    return vae


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
