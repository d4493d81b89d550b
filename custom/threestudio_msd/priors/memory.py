"""Options that trade speed for memory, or the start for speed, under threestudio's names.

Attention needs no option: torch computes it memory-efficiently by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

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
    """Apply options to a model in place, in the order of `OPTIONS`.

    Args:
        model: Changed in place.
        names: Fields of `MemoryOptions` that are on.

    Raises:
        PriorError: The model's classes do not have an option.
    """
    for name, option in OPTIONS.items():
        if name in names:
            option(model)


def channels_last(model: PretrainedModel) -> None:
    for module in filter(None, (model.backbone, autoencoder(model))):
        module.to(memory_format=torch.channels_last)


def slice_attention(model: PretrainedModel) -> None:
    method(model.backbone, "set_attention_slice")("auto")  # half of the heads at a time


def offload(model: PretrainedModel) -> None:
    device = next(model.backbone.parameters()).device
    if device.type != "cpu":
        # accelerate is imported only here
        from accelerate import cpu_offload

        cpu_offload(model.backbone, device)


def call_autoencoder(name: str, model: PretrainedModel) -> None:
    if autoencoder(model) is not None:
        method(autoencoder(model), name)()


def compile_network(model: PretrainedModel) -> None:
    """Compile in place, so that whoever holds the network has the compiled one."""
    model.backbone.compile()


def autoencoder(model: PretrainedModel) -> Any:
    return getattr(model.codec, "vae", None)


def method(module: nn.Module, name: str) -> Callable:
    """Look up a module's method.

    Raises:
        PriorError: Its class does not have it.
    """
    if not hasattr(module, name):
        raise PriorError(f"a {type(module).__name__} has no {name}: leave that option off")
    return getattr(module, name)


OPTIONS: dict[str, Callable[[PretrainedModel], None]] = {
    "enable_channels_last_format": channels_last,
    "enable_attention_slicing": slice_attention,
    "enable_vae_slicing": partial(call_autoencoder, "enable_slicing"),
    "enable_vae_tiling": partial(call_autoencoder, "enable_tiling"),
    "enable_sequential_cpu_offload": offload,
    "enable_compile": compile_network,
}
