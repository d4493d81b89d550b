"""Describes a family of pretrained models: loading, conditioning, prompts and guidance
follow from it.

To add a family, put a `Family` into `FAMILIES`: in a file of threestudio's `custom/`,
or in a file of `families/` with a row in its table `MODULES`. Nothing else changes.
"""

from __future__ import annotations

import importlib
from collections import UserDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ..errors import did_you_mean
from ..fields import FieldError, check_fields
from .cfg import CFG
from .codec import Codec, LatentCodec, TinyLatentCodec
from .denoisers import Condition, ConditionalDenoiser
from .embeddings import Embeddings, Layout
from .errors import PriorError
from .families import MODULES

TINY_VAE = "AutoencoderTiny"
"""diffusers' class of TAESD and similar distilled autoencoders."""


@dataclass(frozen=True)
class NoOptions:
    """Options of a family that has none: a dataclass without fields."""


@dataclass(frozen=True)
class Parts:
    """A pipeline's parts without its text encoders, loaded and frozen.

    Attributes:
        backbone: UNet or transformer.
        scheduler: diffusers' scheduler, which holds the noise levels.
        vae: The autoencoder, or an AutoencoderTiny in its place; None in pixel space.
        options: Instance of `Family.options`; None for their defaults.
        index: The pipeline's `model_index.json`.
    """

    backbone: Any
    scheduler: Any
    vae: Any = None
    options: Any = None
    index: Mapping[str, Any] = field(default_factory=dict)


def latent_codec(parts: Parts) -> Codec:
    is_tiny = type(parts.vae).__name__ == TINY_VAE
    return TinyLatentCodec(parts.vae) if is_tiny else LatentCodec(parts.vae)


def backbone_resolution(parts: Parts) -> int:
    """Return the height and width in pixels of the images that a model was made for:
    the backbone's `sample_size`, in latents, times pixels per latent.
    """
    return parts.backbone.config.sample_size * LatentCodec(parts.vae).factor


def vae_resolution(parts: Parts) -> int:
    """Return the autoencoder's resolution, where the transformer takes any."""
    return getattr(parts.vae.config, "sample_size", 1024)  # a tiny one does not say


@dataclass(frozen=True)
class Family:
    """A family of pretrained models: how its parts are loaded and called, and its
    prompts embedded.

    Attributes:
        name: Name in messages.
        since: The first diffusers release that has the pipeline.
        backbone: Folder and class of the UNet or transformer.
        denoiser: Wraps the backbone as a conditional denoiser that computes in the
            given precision.
        condition: Turns embeddings into the denoiser's condition.
        embed: Embeds prompts with a pipeline whose other parts are None.
        embed_negative: The same for negative prompts; None if `embed` serves both.
        layout: Describes what the embeddings hold beside tokens.
        resolution: Returns the height and width in pixels of the images that the model
            was made for.
        codec: Makes the codec between images and what the model denoises.
        vae: Folder of the autoencoder; None in pixel space.
        vae_class: Class of the autoencoder.
        guidance: Rule of classifier-free guidance, made of the parts.
        is_distilled: Whether the parts are of a few-step checkpoint, whose answer is no E[x | z].
        half: Precision of `dtype: auto` on a GPU.
        options: Dataclass of the keys that a config may set under `model_options`.
        upcasts_vae: Whether an autoencoder whose `force_upcast` is set computes in
            float32 beside a network in float16; diffusers sets it in every
            configuration that does not say otherwise.
    """

    name: str
    since: str
    backbone: tuple[str, str]
    denoiser: Callable[[Parts, torch.dtype], ConditionalDenoiser]
    condition: Callable[[Parts, Embeddings], Condition]
    embed: Callable[[Any, list[str]], Embeddings]
    embed_negative: Callable[[Any, list[str]], Embeddings] | None = None
    layout: Callable[[Parts], Layout] = lambda parts: Layout()
    resolution: Callable[[Parts], int] = backbone_resolution
    codec: Callable[[Parts], Codec] = latent_codec
    vae: str | None = "vae"
    vae_class: str = "AutoencoderKL"
    guidance: Callable[[Parts], Callable[..., CFG]] = lambda parts: CFG
    is_distilled: Callable[[Parts], bool] = lambda parts: False
    half: torch.dtype = torch.float16
    upcasts_vae: bool = False
    options: type = NoOptions

    @property
    def is_unet(self) -> bool:
        return self.backbone[0] == "unet"

    def chosen(self, values: Mapping[str, Any]) -> Any:
        """Build the family's options from a config's block `model_options`.

        Args:
            values: Options by key.

        Returns:
            An instance of `options`.

        Raises:
            FieldError: The family has no such option, or the option does not take the
                value.
        """
        try:
            check_fields(self.options, values)
        except FieldError as error:
            raise FieldError(f"model_options.{error} ({self.name})") from error
        return self.options(**values)

    def diffusers(self, name: str) -> Any:
        """Import a class of diffusers by its name; diffusers itself takes a second, and
        is imported only here.

        Raises:
            PriorError: The installed diffusers lacks the class.
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


class Families(UserDict):
    """A dict of families by the pipeline's class in diffusers, as `model_index.json`
    names it.

    The module of a bundled family is imported when its key is first read.
    """

    def __getitem__(self, pipeline: str) -> Family:
        if isinstance(self.data[pipeline], str):
            importlib.import_module(f"{__package__}.families.{self.data[pipeline]}")  # puts its Family here
        return self.data[pipeline]


FAMILIES = Families(MODULES)


def family_of(pipeline: str) -> Family:
    """Return the family of a pipeline class, by the class's name in diffusers.

    Raises:
        PriorError: No family has such pipelines; the message lists those that are
            known.
    """
    if pipeline not in FAMILIES:
        known = ", ".join(f"{name} ({family.name})" for name, family in FAMILIES.items())
        raise PriorError(
            f"a {pipeline} is not supported{did_you_mean(pipeline, FAMILIES)}; expected one of {known}"
        )
    return FAMILIES[pipeline]
