"""What a guidance call costs beside the network calls that it makes, and beside
threestudio's own modules.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import threestudio
import torch
from threestudio_msd.assets_path import TINY_PRIOR, asset
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from .architectures import CROSS, PLAIN, blocks
from .benchmark import Embeddings, Record, Work, timed, vae_of
from .random_pipelines import save_random_pipeline

# The guidance modules that are measured, with settings that they need
METHODS = {
    "msd-guidance": {"trainer_max_steps": 100},
    "msd-sds-guidance": {},
    "msd-sdi-guidance": {"trainer_max_steps": 100},
}
# threestudio's module and ours, its settings, and how many samples it takes at once
PEERS = {
    "SDS": ("stable-diffusion-guidance", "msd-sds-guidance", {"guidance_scale": 100.0}, 4),
    "SDI": ("stable-diffusion-sdi-guidance", "msd-sdi-guidance", {"guidance_scale": 7.5}, 1),
}
CODEC = ("encoder", "quant_conv", "post_quant_conv", "decoder")
NARROW = {"unet": {"sample_size": 64, "block_out_channels": (32, 64), **blocks(PLAIN, CROSS)}}

# A module, what it was called with, and whether a gradient was wanted
Call = tuple[nn.Module, tuple[Any, ...], dict[str, Any], bool]


def overheads(rounds: int, batches: Sequence[int]) -> Iterator[Record]:
    """Time guidance calls of every method and batch beside their bare calls of network
    and autoencoder.
    """
    for name, settings in METHODS.items():
        guidance = threestudio.find(name)({"pretrained_model_name_or_path": asset(TINY_PRIOR), **settings})
        for batch in batches:
            call = partial(guidance, **inputs(guidance, batch))
            bare = recorded(call, parts_of(guidance.model))
            calls = sum(module is guidance.model.backbone for module, *_ in bare)
            times = timed(call, partial(replay, bare), rounds)
            yield {"guidance": name, "batch": batch, "calls": calls, **times}


def inputs(guidance: Any, batch: int) -> dict[str, Any]:
    """What a system calls a guidance with: renders, prompt and cameras."""
    size, device = guidance.model.resolution, guidance.device
    cameras = dict.fromkeys(("elevation", "azimuth", "camera_distances"), torch.zeros(batch, device=device))
    rgb = torch.rand(batch, size, size, 3, device=device).requires_grad_()
    return {"rgb": rgb, "prompt_utils": Embeddings(guidance.model), "index": torch.arange(batch), **cameras}


def parts_of(model: Any) -> list[nn.Module]:
    """The network, and those parts of the autoencoder whose calls make up encoding and
    decoding.
    """
    parts = (getattr(vae_of(model), name, None) for name in CODEC)
    return [model.backbone, *(part for part in parts if part is not None)]


def recorded(work: Work, modules: Sequence[nn.Module]) -> list[Call]:
    """Record the calls of modules that some work makes, their inputs cut off from what
    computed them.
    """
    calls: list[Call] = []

    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        args, kwargs = tree_map_only(
            Tensor, lambda tensor: tensor.detach().requires_grad_(tensor.requires_grad), (args, kwargs)
        )
        calls.append((module, args, kwargs, torch.is_grad_enabled()))

    with ExitStack() as hooks:
        for module in modules:
            hooks.callback(module.register_forward_pre_hook(note, with_kwargs=True).remove)
        work()
    return calls


def replay(calls: Sequence[Call]) -> None:
    for module, args, kwargs, wants_gradient in calls:
        with torch.set_grad_enabled(wants_gradient):
            module(*args, **kwargs)


def beside_threestudio(rounds: int) -> Iterator[Record]:
    """Time our SDS and SDI beside the host's own, on one pipeline and the same latents.

    The pipeline is of Stable Diffusion's architecture, narrow, with latents of 64 x 64,
    at which threestudio's modules always work. The portable host has no modules to
    compare with: nothing is yielded.
    """
    if not all(theirs in threestudio.__modules__ for theirs, *_ in PEERS.values()):
        print("beside threestudio: left out, THREESTUDIO_ROOT names no checkout")
        return
    with tempfile.TemporaryDirectory() as folder:
        model = str(save_random_pipeline(Path(folder) / "model", "sd15", changes=NARROW, tokens=77))
        for method in PEERS:
            yield beside_peer(method, {"pretrained_model_name_or_path": model}, rounds)


def beside_peer(method: str, model: dict[str, str], rounds: int) -> Record:
    """Time threestudio's module and ours; `per_call` is our time a network call, in
    theirs.
    """
    theirs, ours, settings, batch = PEERS[method]
    peer = threestudio.find(theirs)({**model, "half_precision_weights": False, **settings})
    own = threestudio.find(ours)({**model, **METHODS[ours]})
    given = inputs(own, batch)
    del given["index"]
    channels, height, width = own.model.latent_shape
    given |= {"rgb": torch.randn(batch, height, width, channels), "rgb_as_latents": True}
    calls = peer_call(method, peer, given), partial(own, **given)
    counts = counted(calls[0], peer.unet), counted(calls[1], own.model.backbone)
    times = timed(*calls, rounds)
    per_call = times["fast_ms"] / counts[1] / (times["plain_ms"] / counts[0])
    found = {"method": method, "batch": batch, "their_calls": counts[0], "our_calls": counts[1]}
    return {**found, "per_call": per_call, **times}


def peer_call(method: str, peer: Any, given: dict[str, Any]) -> Work:
    """A call of threestudio's module on latents; of its SDI, which takes none, of the
    gradient alone.
    """
    if method != "SDI":
        return partial(peer, **given)
    latents = given["rgb"].permute(0, 3, 1, 2)
    time = torch.full((len(latents),), int(0.98 * peer.num_train_timesteps), device=latents.device)
    cameras = (given[name] for name in ("elevation", "azimuth", "camera_distances"))
    return partial(peer.compute_grad_sdi, latents, time, given["prompt_utils"], *cameras)


def counted(work: Work, network: nn.Module) -> int:
    """Count the calls of a network; the first time, which may differ, is left out."""
    work()
    return len(recorded(work, [network]))
