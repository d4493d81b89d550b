"""Loads pretrained diffusion models, safetensors only: the network, and apart from it
the text encoders.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..distillation.protocols import Batch
from ..errors import did_you_mean
from .calls import require_known
from .cfg import CFG
from .codec import Codec, Images
from .denoisers import Condition, ConditionalDenoiser
from .embeddings import Embeddings, Packed
from .errors import PriorError, named
from .family import TINY_VAE, Family, Parts
from .folder import CONFIG, ModelFolder, load_single, open_model, read_json

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
OTHER_NAMES = {"fp32": "float32", "full": "float32", "fp16": "float16", "half": "float16", "bf16": "bfloat16"}
"""Names of a dtype in other software, for suggestions."""
HALF = (torch.float16, torch.bfloat16)


FEW_STEPS = re.compile(r"turbo|schnell|sprint|lightning|lcm|meanflow|hyper-?sd|few-?step")
"""In the names of checkpoints that were distilled to few steps."""


@dataclass(frozen=True)
class PretrainedModel:
    """A pretrained diffusion model, frozen.

    `encode(images)` and `decode(latents)` map images in [0, 1], `[B, 3, H, W]`, to
    latents, `[B, C, h, w]`, and back; `latent_shape` is (C, h, w) at the model's
    resolution.

    Attributes:
        denoiser: The conditional denoiser.
        codec: Encodes images to what the denoiser denoises, and decodes it.
        backbone: The UNet or transformer inside `denoiser`, for adapters.
        resolution: Height and width in pixels of the images that the model was made
            for.
        condition: Turns a prompt processor's embeddings `[B, N, C]` into the denoiser's
            condition.
        guidance: Rule of classifier-free guidance, called as `CFG` is.
        distilled: Whether the checkpoint was distilled to few steps.
    """

    denoiser: ConditionalDenoiser
    codec: Codec
    backbone: Any
    resolution: int
    condition: Callable[[Packed], Condition]
    guidance: Callable[..., CFG] = CFG
    distilled: bool = False

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        return self.codec.shape(self.resolution)

    def encode(self, images: Images) -> Batch:
        return self.codec.encode(images)

    def decode(self, latents: Batch) -> Images:
        return self.codec.decode(latents)


def load_model(
    model: str,
    revision: str | None = None,
    dtype: str = "auto",
    device: torch.device | str = "cpu",
    tiny_vae: str | None = None,
    options: Mapping[str, Any] | None = None,
    variant: str | None = None,
    offload: bool = False,
    require: Callable[[Family], None] = lambda family: None,
) -> PretrainedModel:
    """Load a pipeline's network, autoencoder and noise levels, without its text
    encoders.

    Args:
        model: Hub id or folder of a pipeline in `FAMILIES`.
        revision: Branch, tag or commit on the hub; None is its default.
        dtype: `float32`, `float16`, `bfloat16`, or `auto`: the family's half precision
            on a GPU, float32 on a CPU.
        device: Device of the loaded modules.
        tiny_vae: Hub id or folder of an AutoencoderTiny that replaces the model's
            autoencoder.
        options: Options of the model's family by key, a config's `model_options`.
        variant: Variant of the weights' files, such as `fp16`; None for that of the
            dtype, if there is one.
        offload: Whether the network stays in the machine's memory, for
            `memory.offload`.
        require: Called with the model's family before weights are downloaded or loaded;
            raises if the model cannot be used.

    Returns:
        The model, frozen and in evaluation mode.

    Raises:
        PriorError: The dtype is unknown, or the model cannot be found, reached or read,
            or is of no known family.
        FieldError: Its family does not have an option, or an option does not take its
            value.
    """
    if dtype not in (*DTYPES, "auto"):
        hint = did_you_mean(OTHER_NAMES.get(dtype, dtype), DTYPES)
        raise PriorError(f"unknown dtype {dtype!r}{hint}; expected auto, {', '.join(DTYPES)}")
    folder = open_model(model, revision, half=is_half(dtype, device), variant=variant)
    family = folder.family
    require(family)
    automatic = family.half if is_half(dtype, device) else torch.float32
    precision = DTYPES.get(dtype, automatic)
    chosen = family.chosen(options or {})
    part, cls = family.backbone
    backbone = folder.load(part, folder.known_class(part, cls), precision)
    vae = _load_vae(folder, precision, tiny_vae)
    backbone.requires_grad_(False).eval().to("cpu" if offload else device)
    if vae is not None:
        vae.requires_grad_(False).eval().to(device)
    if family.upcasts_vae and precision == torch.float16 and getattr(vae.config, "force_upcast", False):
        vae.float()  # overflows in float16
    parts = Parts(backbone, folder.scheduler(), vae, chosen, folder.index)
    with named(folder.name):
        return replace(
            assembled(family, parts, precision), distilled=is_distilled(folder.name, family, parts)
        )


def is_distilled(name: str, family: Family, parts: Parts) -> bool:
    """Tell a checkpoint distilled to few steps by its parts, or by its name."""
    return family.is_distilled(parts) or bool(FEW_STEPS.search(name.lower()))


def is_half(dtype: str, device: torch.device | str) -> bool:
    """Tell whether a config's `dtype` means half precision on a device; `auto` does on
    a GPU.
    """
    return torch.device(device).type == "cuda" if dtype == "auto" else DTYPES.get(dtype) in HALF


def assembled(family: Family, parts: Parts, dtype: torch.dtype) -> PretrainedModel:
    """Assemble a model from its loaded parts.

    Args:
        family: The model's family.
        parts: Network, scheduler and autoencoder.
        dtype: Precision that the network computes in.

    Raises:
        PriorError: The parts do not fit the family, or need something that this package
            does not support.
    """
    require_known(parts)
    layout = family.layout(parts)

    def condition(packed: Packed) -> Condition:
        return family.condition(parts, Embeddings.unpacked(packed, layout))

    return PretrainedModel(
        family.denoiser(parts, dtype),
        family.codec(parts),
        parts.backbone,
        family.resolution(parts),
        condition,
        family.guidance(parts),
    )


def _load_vae(folder: ModelFolder, dtype: torch.dtype, tiny_vae: str | None) -> Any:
    family = folder.family
    if tiny_vae is None:
        return (
            folder.load(family.vae, folder.known_class(family.vae, family.vae_class), dtype)
            if family.vae
            else None
        )
    if family.vae is None:
        raise PriorError(f"{tiny_vae}: {folder.name} denoises pixels, and has no autoencoder to replace")
    vae = load_single(tiny_vae, family.diffusers(TINY_VAE), dtype)
    theirs = read_json(folder.path / family.vae, CONFIG).get("latent_channels", 4)
    ours = vae.config.latent_channels
    if theirs != ours:
        raise PriorError(
            f"{tiny_vae}: has {ours} latent channels, {folder.name} has {theirs}: "
            "take the one distilled from its autoencoder"
        )
    return vae


def embed_prompts(
    prompts: list[str],
    model: str,
    revision: str | None = None,
    device: torch.device | str = "cpu",
    negatives: list[str] | None = None,
) -> Packed:
    """Embed prompts with a pipeline's own text encoders, which are loaded for this call
    and freed.

    Args:
        prompts: Prompts.
        model: Hub id or folder of a pipeline in `FAMILIES`.
        revision: Branch, tag or commit on the hub; None is its default.
        device: Device that computes.
        negatives: Negative prompts, which some families embed otherwise.

    Returns:
        One row per prompt, then one per negative prompt, packed as `[P, N, C]` in
        float32: what `PretrainedModel.condition` takes.

    Raises:
        PriorError: The model cannot be found, reached or read, is of no known family,
            or lacks text encoders.
    """
    folder = open_model(model, revision, text=True)
    family, pipeline = folder.family, folder.text_pipeline().to(device)
    with torch.no_grad():
        blocks = [family.embed(pipeline, prompts)] if prompts else []
        if negatives:
            blocks.append((family.embed_negative or family.embed)(pipeline, negatives))
        return Embeddings.joined(blocks).packed()
