"""Options that trade speed for memory, or the start for speed, under threestudio's
names.

Attention needs no option: torch computes it memory-efficiently by itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch

from ..fields import FieldError
from .family import Family
from .loading import PretrainedModel


@dataclass
class MemoryOptions:
    """Options of a guidance module that save memory or time, all off by default;
    `apply` puts them in force.

    Attributes:
        enable_channels_last_format: Weights in the layout that convolutions on a GPU
            are fastest in.
        enable_attention_slicing: Attention in slices: less memory, slower.
        enable_sequential_cpu_offload: Network weights in the machine's memory, brought
            to the GPU layer by layer: least memory, much slower.
        enable_vae_gradient_checkpointing: The encoder's activations computed again for
            the gradient: the same gradient, a sixth or less of what is kept for it, one
            more pass.
        enable_vae_slicing: The autoencoder one image at a time when it decodes several.
        enable_vae_tiling: Read for older configs, and without effect.
        enable_compile: The network compiled by torch when no gradient passes through
            it: a slow first step, then faster ones.
    """

    enable_channels_last_format: bool = False
    enable_attention_slicing: bool = False
    enable_sequential_cpu_offload: bool = False
    enable_vae_gradient_checkpointing: bool = False
    enable_vae_slicing: bool = False
    enable_vae_tiling: bool = False
    enable_compile: bool = False


def require(family: Family, names: Collection[str]) -> None:
    """Check that a family's classes have the options that are on; no weights are
    needed.

    Args:
        family: The family of the model.
        names: Fields of `MemoryOptions` that are on.

    Raises:
        FieldError: The family lacks an option; the message begins with it.
    """
    if "enable_attention_slicing" in names and not family.is_unet:
        raise FieldError(f"enable_attention_slicing: expected false, as {family.name} has no UNet")


def apply(model: PretrainedModel, names: Collection[str], device: torch.device | str) -> None:
    """Apply options to a model in place; options that it has no part for do nothing.

    Args:
        model: Changed in place.
        names: Fields of `MemoryOptions` that are on.
        device: Device that the model computes on.
    """
    for name, option in OPTIONS.items():
        if name in names:
            option(model, torch.device(device))


def advice(model: PretrainedModel, names: Collection[str], trains_network: bool = False) -> list[str]:
    """List warnings for options that save nothing or cost more, with what saves memory
    instead.

    Args:
        model: The model.
        names: Fields of `MemoryOptions` that are on.
        trains_network: Whether a gradient passes through the network, as in VSD.

    Returns:
        One line for each such option, beginning with its name.
    """
    said = {name: ADVICE[name] for name in names if name in ADVICE}
    if not trains_network:
        said.pop("enable_attention_slicing", None)
    if autoencoder(model) is None:
        said |= {name: "does nothing: there is no autoencoder" for name in names if "_vae_" in name}
    return [f"{name} {text}" for name, text in said.items()]


def channels_last(model: PretrainedModel, device: torch.device) -> None:
    for module in filter(None, (model.backbone, autoencoder(model))):
        module.to(memory_format=torch.channels_last)


def offload(model: PretrainedModel, device: torch.device) -> None:
    """Keep the network's weights in the machine's memory, and bring them to the device
    layer by layer; do nothing on a CPU.
    """
    if device.type != "cpu":
        # accelerate is imported only here
        from accelerate import cpu_offload

        cpu_offload(model.backbone, device)


def autoencoder_switch(method: str) -> Callable[[PretrainedModel, torch.device], None]:
    """Make an option of the autoencoder's own method; without one the option does nothing."""
    return lambda model, device: None if (vae := autoencoder(model)) is None else getattr(vae, method)()


def compile_network(model: PretrainedModel, device: torch.device) -> None:
    """Compile the network in place, for calls through which no gradient passes.

    torch 2.13's inductor returns wrong gradients of diffusers' UNets on a CPU, without
    an error.
    """
    network = model.backbone
    eager = network.forward
    compiled = torch.compile(eager)

    @functools.wraps(eager)
    def forward(*args: Any, **kwargs: Any) -> Any:
        return (eager if torch.is_grad_enabled() else compiled)(*args, **kwargs)

    network.forward = forward


def autoencoder(model: PretrainedModel) -> Any:
    return getattr(model.codec, "vae", None)


OPTIONS: dict[str, Callable[[PretrainedModel, torch.device], None]] = {
    "enable_channels_last_format": channels_last,
    # half of the heads at a time
    "enable_attention_slicing": lambda model, device: model.backbone.set_attention_slice("auto"),
    "enable_vae_gradient_checkpointing": autoencoder_switch("enable_gradient_checkpointing"),
    "enable_vae_slicing": autoencoder_switch("enable_slicing"),
    "enable_vae_tiling": lambda model, device: None,
    "enable_sequential_cpu_offload": offload,
    "enable_compile": compile_network,
}
SAVING = "take enable_vae_gradient_checkpointing, or loss_space image"
ADVICE = {
    "enable_attention_slicing": "costs memory here, where a gradient passes through the network",
    "enable_vae_slicing": f"saves memory where images are decoded, not where a gradient is taken: {SAVING}",
    "enable_vae_tiling": f"is left out: tiles cost memory where a gradient is taken, and change it: {SAVING}",
}
"""Warnings by option that is on."""
