"""Options that trade speed for memory, or the start for speed, under threestudio's names.

Attention needs no option: torch computes it memory-efficiently by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import nn

from .errors import PriorError
from .loading import PretrainedModel


@dataclass
class MemoryOptions:
    """Settings of a guidance module that `apply` understands, mixed into its `Config`."""

    # weights in the layout that convolutions on a GPU are fastest in
    enable_channels_last_format: bool = False
    # attention in slices: less memory, slower
    enable_attention_slicing: bool = False
    # network weights in the machine's memory, brought to the GPU layer by layer: least memory, much slower
    enable_sequential_cpu_offload: bool = False
    # the autoencoder one image, or one tile of it, at a time
    enable_vae_slicing: bool = False
    enable_vae_tiling: bool = False
    # the network compiled by torch: a slow first step, then faster ones
    enable_compile: bool = False


def apply(model: PretrainedModel, names: Iterable[str]) -> None:
    """Apply options to a model, in the order of the table.

    Args:
        model: Changed in place.
        names: Fields of `MemoryOptions` that are on.

    Raises:
        PriorError: If the model's classes do not have one.
    """
    for name, option in OPTIONS.items():
        if name in names:
            option(model)


def channels_last(model: PretrainedModel) -> None:
    """Network and autoencoder in that layout."""
    for module in filter(None, (model.backbone, autoencoder(model))):
        module.to(memory_format=torch.channels_last)


def attention_slicing(model: PretrainedModel) -> None:
    """Half of the heads at a time, diffusers' `auto`."""
    method(model.backbone, "set_attention_slice")("auto")


def offload(model: PretrainedModel) -> None:
    """The network's weights leave the GPU; without a GPU they are where they should be."""
    device = next(model.backbone.parameters()).device
    if device.type != "cpu":
        # accelerate is imported only here
        from accelerate import cpu_offload

        cpu_offload(model.backbone, device)


def vae_slicing(model: PretrainedModel) -> None:
    """One image at a time."""
    if autoencoder(model) is not None:
        method(autoencoder(model), "enable_slicing")()


def vae_tiling(model: PretrainedModel) -> None:
    """One tile at a time; seams are blended, so that results differ slightly."""
    if autoencoder(model) is not None:
        method(autoencoder(model), "enable_tiling")()


def compiled(model: PretrainedModel) -> None:
    """In place, so that whoever holds the network has the compiled one."""
    model.backbone.compile()


def autoencoder(model: PretrainedModel) -> nn.Module | None:
    """A model's autoencoder; None in pixel space."""
    return getattr(model.space, "vae", None)


def method(module: nn.Module, name: str) -> Callable:
    """A module's method.

    Raises:
        PriorError: If its class does not have it.
    """
    if not hasattr(module, name):
        raise PriorError(f"a {type(module).__name__} has no {name}: leave that option off")
    return getattr(module, name)


OPTIONS: dict[str, Callable[[PretrainedModel], None]] = {
    "enable_channels_last_format": channels_last,
    "enable_attention_slicing": attention_slicing,
    "enable_vae_slicing": vae_slicing,
    "enable_vae_tiling": vae_tiling,
    "enable_sequential_cpu_offload": offload,
    "enable_compile": compiled,
}
