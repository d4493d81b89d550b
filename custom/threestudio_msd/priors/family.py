"""What is known of a family of pretrained models, in one description.

To add a family, add a file to `families/`, or to threestudio's `custom/`, that puts a `Family` into
`FAMILIES`: loading, conditioning, prompts and guidance take it from there, and nothing else changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import did_you_mean
from ..fields import FieldError, check_fields
from .denoisers import Condition, ConditionalDenoiser
from .errors import PriorError
from .spaces import Latents, Space, TinyLatents

TINY_VAE = "AutoencoderTiny"
"""diffusers' class of TAESD and its like."""

Embeddings = Float[Tensor, "B N C"]
"""Prompts as a prompt processor hands them on: N vectors a prompt."""


@dataclass(frozen=True)
class NoOptions:
    """A family that leaves nothing to choose."""


@dataclass(frozen=True)
class Parts:
    """A pipeline's parts without its text encoders, loaded and frozen.

    Attributes:
        backbone: UNet or transformer.
        scheduler: diffusers' scheduler, which knows the noise levels.
        vae: The autoencoder, or a tiny one in its place; None in pixel space.
        options: What a config chose of the family's own; an instance of its `Family.options`; None
            for their defaults.
    """

    backbone: nn.Module
    scheduler: Any
    vae: nn.Module | None = None
    options: Any = None


def latents(parts: Parts) -> Space:
    """The autoencoder's latents."""
    is_tiny = type(parts.vae).__name__ == TINY_VAE
    return TinyLatents(parts.vae) if is_tiny else Latents(parts.vae)


def backbone_resolution(parts: Parts) -> int:
    """Pixels a side, where the backbone's `sample_size` counts latents."""
    return parts.backbone.config.sample_size * Latents(parts.vae).factor


@dataclass(frozen=True)
class Family:
    """A family of pretrained models.

    Attributes:
        name: For messages.
        since: The first diffusers that has its pipeline.
        backbone: Folder and class of the UNet or transformer.
        denoiser: The backbone as a conditional denoiser that computes in the given precision.
        condition: What the denoiser is conditioned on, from embeddings.
        embed: Embeddings of prompts, in float32, from a pipeline whose other parts are None.
        resolution: Height and width of the images it was made for, pixels.
        space: Where it denoises.
        vae: Folder of the autoencoder; None in pixel space.
        half: What `dtype: auto` is on a GPU.
        options: Dataclass of what a config may choose beside, under `model_options`.
    """

    name: str
    since: str
    backbone: tuple[str, str]
    denoiser: Callable[[Parts, torch.dtype], ConditionalDenoiser]
    condition: Callable[[Parts, Embeddings], Condition]
    embed: Callable[[Any, list[str]], Embeddings]
    resolution: Callable[[Parts], int] = backbone_resolution
    space: Callable[[Parts], Space] = latents
    vae: str | None = "vae"
    half: torch.dtype = torch.float16
    options: type = NoOptions

    def chosen(self, values: Mapping[str, Any]) -> Any:
        """The family's options with what a config chose of them.

        Raises:
            FieldError: For an option that it does not have, or a value that this does not take.
        """
        try:
            check_fields(self.options, values)
        except FieldError as error:
            raise FieldError(f"model_options.{error} ({self.name})") from error
        return self.options(**values)

    def diffusers(self, name: str) -> type:
        """A class of diffusers, which is imported only here; it takes a second.

        Raises:
            PriorError: If the diffusers at hand does not have it.
        """
        import diffusers

        try:
            return getattr(diffusers, name)
        # diffusers imports its classes on demand, and makes a RuntimeError of what goes wrong
        except (AttributeError, ImportError, RuntimeError) as error:
            raise PriorError(
                f"{self.name} needs {name}, which diffusers {diffusers.__version__} lacks: "
                f"pip install 'diffusers>={self.since}'"
            ) from error


FAMILIES: dict[str, Family] = {}
"""The table, by the pipeline's class in diffusers, as `model_index.json` names it."""


def family_of(pipeline: str) -> Family:
    """The family that a pipeline class belongs to.

    Raises:
        PriorError: If there is none.
    """
    if pipeline not in FAMILIES:
        known = ", ".join(f"{name} ({family.name})" for name, family in FAMILIES.items())
        raise PriorError(
            f"a {pipeline} is not supported{did_you_mean(pipeline, FAMILIES)}; expected one of {known}"
        )
    return FAMILIES[pipeline]
