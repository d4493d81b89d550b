"""Alternatives timed in turn, and those that the project's shortcuts replace, on the
embedded prior.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import threestudio
import torch
from threestudio_msd.assets_path import TINY_PRIOR, asset
from threestudio_msd.distillation import MSD, Constant, Posterior, SampleNoise
from threestudio_msd.priors import CFG, PretrainedModel, load_model
from torch import Tensor, nn

from ..tinyworld.render import sample_cameras

Work = Callable[[], object]
# What is compared, the plain way and the fast way
Pair = tuple[str, Work, Work]
# A measurement by name: a row of a table, and an object of the JSON file
Record = dict[str, object]
SCALE = 3.0  # of guidance
HASH_GRID = {
    "radius": 0.68,
    "normal_type": None,
    "density_blob_std": 0.25,
    "pos_encoding_config": {
        "otype": "HashGrid",
        "n_levels": 8,
        "n_features_per_level": 2,
        "log2_hashmap_size": 14,
        "base_resolution": 8,
        "per_level_scale": 1.45,
    },
    "mlp_network_config": {
        "otype": "VanillaMLP",
        "activation": "ReLU",
        "output_activation": "none",
        "n_neurons": 32,
        "n_hidden_layers": 1,
    },
}


def clock() -> float:
    """Seconds of work: the wall's of a GPU that has finished, on a CPU those of this
    process alone.
    """
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def seconds(work: Work) -> float:
    start = clock()
    work()
    return clock() - start


def timed(plain: Work, fast: Work, rounds: int) -> Record:
    """Time two alternatives in turn, so that a busy machine slows them alike, after a
    round that warms up.

    Returns:
        `plain_ms` and `fast_ms`, medians; `ratio`, the median over rounds of plain /
        fast, and its quartiles `low` and `high`.
    """
    times = [(seconds(plain), seconds(fast)) for _ in range(rounds + 1)][1:]
    ratios = [a / b for a, b in times]
    low, middle, high = statistics.quantiles(ratios, n=4) if rounds > 1 else ratios * 3
    plain_ms, fast_ms = (1e3 * statistics.median(column) for column in zip(*times, strict=True))
    return {"plain_ms": plain_ms, "fast_ms": fast_ms, "ratio": middle, "low": low, "high": high}


def vae_of(model: Any) -> nn.Module | None:
    """A pretrained model's autoencoder; None in pixel space."""
    return getattr(getattr(model, "codec", None), "vae", None)


def text(model: PretrainedModel, rows: int) -> dict[str, Tensor]:
    width = model.backbone.config.cross_attention_dim
    return {"encoder_hidden_states": torch.randn(1, 16, width).expand(rows, -1, -1)}


class Embeddings:
    """Random text embeddings in the place of a prompt processor's."""

    use_perp_neg = False

    def __init__(self, model: PretrainedModel) -> None:
        self.model = model

    def get_text_embeddings(self, elevation: Tensor, *_: object) -> Tensor:
        return text(self.model, 2 * len(elevation))["encoder_hidden_states"]


def guidance_branches(model: PretrainedModel) -> Pair:
    condition, z, sigma = text(model, 8), torch.randn(8, *model.latent_shape), torch.tensor(1.0)

    def one_by_one() -> Tensor:
        cond, uncond = (model.denoiser(z, sigma, condition) for _ in range(2))
        return uncond + SCALE * (cond - uncond)

    return (
        "guidance branches: one by one / one batch (8 images)",
        torch.no_grad()(one_by_one),
        torch.no_grad()(lambda: CFG(model.denoiser, condition, condition, SCALE).denoiser(z, sigma)),
    )


def particles(model: PretrainedModel) -> Pair:
    one, many = (threestudio.find("msd-image-mlp")({"n_particles": n}) for n in (1, 16))
    points = torch.rand(64 * 64, 2)
    return (
        "coordinate MLPs, forward and backward: 16 runs / 16 particles at once",
        lambda: [one(points).square().mean().backward() for _ in range(16)],
        lambda: many(points).square().mean().backward(),
    )


def chunks(model: PretrainedModel) -> Pair:
    y, msd = torch.randn(16, *model.latent_shape), MSD(Posterior(4), Constant(1.0, 1.0))

    @torch.no_grad()
    def estimate(rows: Tensor) -> object:
        condition = text(model, len(rows))
        prompted = CFG(model.denoiser, condition, condition, SCALE)
        return msd(rows, prompted, SampleNoise(range(len(rows))), 0.0)

    return (
        "MSD estimate, 4 NFE: 16 times one image / 16 images at once",
        lambda: [estimate(row) for row in y.split(1)],
        lambda: estimate(y),
    )


def refresh(model: PretrainedModel) -> Pair:
    rgb, embeddings = torch.rand(8, 64, 64, 3).requires_grad_(), Embeddings(model)

    def steps(refresh_every: int) -> Work:
        settings = {"trainer_max_steps": 100, "refresh_every": refresh_every}
        prior = {"pretrained_model_name_or_path": asset(TINY_PRIOR)}
        guidance = threestudio.find("msd-guidance")({**prior, **settings})

        def run() -> None:
            for step in range(4):
                guidance.update_step(0, step)
                guidance(rgb, embeddings, index=torch.arange(8))["loss_msd"].backward()

        return run

    return "four optimiser steps, encoder included: refresh_every 1 / 4", steps(1), steps(4)


def scenes(model: PretrainedModel) -> Pair:
    cameras = sample_cameras(4, torch.Generator().manual_seed(0))
    rays_d, position = cameras.rays(64), cameras.position
    rays = {"rays_o": position[:, None, None].expand_as(rays_d), "rays_d": rays_d}

    def step(kind: str, settings: dict[str, object]) -> Work:
        geometry = threestudio.find(kind)(settings)
        renderer = threestudio.find("nerf-volume-renderer")(
            {"radius": 0.68, "num_samples_per_ray": 48},
            geometry=geometry,
            material=threestudio.find("no-material")({}),
            background=threestudio.find("solid-color-background")({}),
        ).train()
        optimiser = torch.optim.Adam(geometry.parameters())
        renderer.do_update_step(0, 0)

        def run() -> None:
            optimiser.zero_grad()
            renderer(**rays, light_positions=position)["comp_rgb"].square().mean().backward()
            optimiser.step()

        return run

    return (
        "step of a scene, four views: hash grid / dense lattices",
        step("implicit-volume", HASH_GRID),
        step("msd-multiscale-grid", {}),
    )


BENCHMARKS = (guidance_branches, particles, chunks, refresh, scenes)


def gains(rounds: int) -> list[Record]:
    model = load_model(asset(TINY_PRIOR))
    pairs = (benchmark(model) for benchmark in BENCHMARKS)
    return [{"comparison": name, **timed(plain, fast, rounds)} for name, plain, fast in pairs]
