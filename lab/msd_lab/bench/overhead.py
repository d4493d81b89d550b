"""What a guidance call costs beside the network calls that it makes, and beside threestudio's own modules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .architectures import CROSS, PLAIN, blocks
from .benchmark import Embeddings, Ratio, Timed, device_clock, timed
from .random_pipelines import save_random_pipeline

METHODS = {
    "msd-guidance": {"trainer_max_steps": 100},
    "msd-sds-guidance": {},
    "msd-sdi-guidance": {"trainer_max_steps": 100},
}
"""The guidance modules that are measured, with settings that they need."""
BATCHES = (1, 4, 16)
PEERS = {
    "SDS": ("stable-diffusion-guidance", "msd-sds-guidance", {"guidance_scale": 100.0}, 4),
    "SDI": ("stable-diffusion-sdi-guidance", "msd-sdi-guidance", {"guidance_scale": 7.5}, 1),
}
"""threestudio's module and ours, its settings, and how many samples it takes at once."""


@dataclass(frozen=True)
class Overhead:
    """A guidance call, and the bare calls of networks and autoencoder that it made, timed in turn.

    Attributes:
        guidance: The module's registered name.
        batch: Renders a call.
        calls: Network calls a guidance call.
        times: Of the two; `ratio` is guidance over bare calls.
    """

    guidance: str
    batch: int
    calls: int
    times: Ratio


def overheads(model: str, rounds: int, batches: Sequence[int] = BATCHES) -> Iterator[Overhead]:
    """Overheads of every method at every batch, on a pretrained model."""
    import threestudio

    for name, settings in METHODS.items():
        guidance = threestudio.find(name)({"pretrained_model_name_or_path": model, **settings})
        for batch in batches:
            yield overhead(name, guidance, batch, rounds)


def overhead(name: str, guidance: Any, batch: int, rounds: int) -> Overhead:
    """One method at one batch."""
    call = partial(guidance, **inputs(guidance, batch))
    bare = recorded(call, parts_of(guidance.model))
    calls = sum(module is guidance.model.backbone for module, *_ in bare)
    times = timed(f"{name}, batch {batch}", call, partial(replay, bare), rounds, device_clock)
    return Overhead(name, batch, calls, times)


def inputs(guidance: Any, batch: int) -> dict[str, Any]:
    """What a system calls a guidance with: renders, prompt and cameras."""
    model = guidance.model
    device = guidance.device
    front = torch.zeros(batch, device=device)
    cameras = dict.fromkeys(("elevation", "azimuth", "camera_distances"), front)
    rgb = torch.rand(batch, model.resolution, model.resolution, 3, device=device).requires_grad_()
    return {"rgb": rgb, "prompt_utils": Embeddings(model), "index": torch.arange(batch), **cameras}


Call = tuple[nn.Module, tuple[Any, ...], dict[str, Any], bool]
"""A module, what it was called with, and whether a gradient was wanted."""


def parts_of(model: Any) -> list[nn.Module]:
    """The network, and those parts of the autoencoder whose calls make up encoding and decoding."""
    vae = getattr(model.space, "vae", None)
    names = ("encoder", "quant_conv", "post_quant_conv", "decoder")
    parts = (getattr(vae, name, None) for name in names)
    return [model.backbone, *(part for part in parts if part is not None)]


def recorded(work: Timed, modules: Sequence[nn.Module]) -> list[Call]:
    """The calls of modules while something is done."""
    calls: list[Call] = []

    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls.append((module, detached(args), detached(kwargs), torch.is_grad_enabled()))

    handles = [module.register_forward_pre_hook(note, with_kwargs=True) for module in modules]
    try:
        work()
    finally:
        for handle in handles:
            handle.remove()
    return calls


def detached(value: Any) -> Any:
    """The same inputs, without what they were computed from."""
    if isinstance(value, Tensor):
        return value.detach().requires_grad_(value.requires_grad)
    if isinstance(value, dict):
        return {key: detached(entry) for key, entry in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(detached(entry) for entry in value)
    return value


def replay(calls: Sequence[Call]) -> None:
    """Make the same calls again, and nothing else."""
    for module, args, kwargs, wants_gradient in calls:
        with torch.set_grad_enabled(wants_gradient):
            module(*args, **kwargs)


@dataclass(frozen=True)
class BesidePeer:
    """A guidance module of threestudio's and ours on the same pipeline and latents, timed in turn.

    Attributes:
        method: Which.
        batch: Latents a call.
        their_calls: Network calls a guidance call of theirs.
        our_calls: Of ours.
        times: Of the two guidance calls.
        per_call: Our time a network call, in theirs.
    """

    method: str
    batch: int
    their_calls: int
    our_calls: int
    times: Ratio
    per_call: float


def beside_threestudio(folder: Path, rounds: int) -> Iterator[BesidePeer]:
    """Our SDS and SDI beside the host's own; of a host that has them.

    The pipeline is of Stable Diffusion's architecture, narrow, with latents of 64 x 64, at which
    threestudio's modules always work.
    """
    import threestudio

    narrow = {"unet": {"sample_size": 64, "block_out_channels": (32, 64), **blocks(PLAIN, CROSS)}}
    model = str(save_random_pipeline(folder, "sd15", changes=narrow, tokens=77))
    for method, (theirs, ours, settings, batch) in PEERS.items():
        shared = {"pretrained_model_name_or_path": model}
        peer = threestudio.find(theirs)({**shared, "half_precision_weights": False, **settings})
        own = threestudio.find(ours)({**shared, **METHODS[ours]})
        given = latent_inputs(own, batch)
        calls = [peer_call(method, peer, given), partial(own, **given)]
        counts = [
            counted(call, [unet]) for call, unet in zip(calls, (peer.unet, own.model.backbone), strict=True)
        ]
        times = timed(f"{method}: threestudio's / ours, {batch} latents", *calls, rounds, device_clock)
        per_call = times.fast_ms / counts[1] / (times.plain_ms / counts[0])
        yield BesidePeer(method, batch, *counts, times, per_call)


def peer_call(method: str, peer: Any, given: dict[str, Any]) -> Timed:
    """A call of threestudio's module on latents; of its SDI, which takes none, of the gradient alone."""
    if method != "SDI":
        return partial(peer, **given)
    latents = given["rgb"].permute(0, 3, 1, 2)
    time = torch.full((len(latents),), int(0.98 * peer.num_train_timesteps), device=latents.device)
    cameras = (given[name] for name in ("elevation", "azimuth", "camera_distances"))
    return partial(peer.compute_grad_sdi, latents, time, given["prompt_utils"], *cameras)


def counted(work: Timed, modules: Sequence[nn.Module]) -> int:
    """How many calls of modules something makes; the first time, which may differ, is left out."""
    work()
    return len(recorded(work, modules))


def latent_inputs(guidance: Any, batch: int) -> dict[str, Any]:
    """The same as `inputs`, with latents in the place of renders."""
    given = inputs(guidance, batch)
    del given["index"]
    channels, height, width = guidance.model.latent_shape
    return {**given, "rgb": torch.randn(batch, height, width, channels), "rgb_as_latents": True}


def has_peers() -> bool:
    """Whether the host has modules of its own to compare with: a real threestudio."""
    import threestudio

    return all(theirs in threestudio.__modules__ for theirs, *_ in PEERS.values())
