"""What the project's shortcuts gain: alternatives timed side by side, on the embedded prior."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from rich.table import Table
from threestudio_msd.assets_path import TINY_PRIOR, asset
from threestudio_msd.distillation import MSD, Constant, Posterior, SampleNoise
from threestudio_msd.priors import CFG, PretrainedModel

from ..tinyworld.render import sample_cameras

Timed = Callable[[], object]
Alternatives = tuple[str, Timed, Timed]
"""What is compared, the plain way and the fast way."""


@dataclass(frozen=True)
class Ratio:
    """Two alternatives timed in turn, round by round, so that a busy machine slows them alike.

    Attributes:
        comparison: What is compared.
        plain_ms: Median time of the plain way, milliseconds.
        fast_ms: Median time of the fast way, milliseconds.
        ratio: Median over rounds of plain / fast time.
        quartiles: Of the same.
        rounds: How many.
    """

    comparison: str
    plain_ms: float
    fast_ms: float
    ratio: float
    quartiles: tuple[float, float]
    rounds: int


Now = Callable[[], float]
"""A clock, in seconds."""


def device_clock() -> float:
    """Seconds of work: of a GPU, once it has done what it was given; of a CPU, those of this process alone.

    So whatever else a machine does counts little.
    """
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def seconds(function: Timed, now: Now = time.perf_counter) -> float:
    """What one call takes by a clock, the wall's by default."""
    start = now()
    function()
    return now() - start


def timed(name: str, plain: Timed, fast: Timed, rounds: int, now: Now = time.perf_counter) -> Ratio:
    """Time two alternatives in turn; one round more, the first, only warms up."""
    times = [(seconds(plain, now), seconds(fast, now)) for _ in range(rounds + 1)][1:]
    ratios = [a / b for a, b in times]
    low, middle, high = statistics.quantiles(ratios, n=4) if rounds > 1 else ratios * 3
    plain_ms, fast_ms = (1e3 * statistics.median(column) for column in zip(*times, strict=True))
    return Ratio(name, plain_ms, fast_ms, middle, (low, high), rounds)


def guidance_branches(model: PretrainedModel) -> Alternatives:
    """Classifier-free guidance: two branches one after the other, or as one batch."""
    denoiser, condition = model.denoiser, text(model, 8)
    z, sigma = latents(model, 8), torch.tensor(1.0)

    @torch.no_grad()
    def one_by_one() -> torch.Tensor:
        cond, uncond = denoiser(z, sigma, condition), denoiser(z, sigma, condition)
        return uncond + 3.0 * (cond - uncond)

    return (
        "guidance branches: one by one / one batch (8 images)",
        one_by_one,
        torch.no_grad()(lambda: CFG(denoiser, condition, condition, 3.0).denoiser(z, sigma)),
    )


def particles(model: PretrainedModel) -> Alternatives:
    """Sixteen coordinate MLPs rendered and differentiated: sixteen runs, or one batched run."""
    import threestudio

    image_mlp = threestudio.find("msd-image-mlp")
    one, many = image_mlp({"n_particles": 1}), image_mlp({"n_particles": 16})
    points = torch.rand(64 * 64, 2)
    return (
        "coordinate MLPs, forward and backward: 16 runs / 16 particles at once",
        lambda: [one(points).square().mean().backward() for _ in range(16)],
        lambda: many(points).square().mean().backward(),
    )


def chunks(model: PretrainedModel) -> Alternatives:
    """The same estimate for sixteen images, one image at a time or all at once."""
    denoiser, y = model.denoiser, latents(model, 16)
    msd = MSD(Posterior(4), Constant(1.0, 1.0))

    @torch.no_grad()
    def estimate(rows: torch.Tensor) -> object:
        condition = text(model, len(rows))
        prompted = CFG(denoiser, condition, condition, 3.0)
        return msd(rows, prompted, SampleNoise(range(len(rows))), 0.0)

    return (
        "MSD estimate, 4 NFE: 16 times one image / 16 images at once",
        lambda: [estimate(row) for row in y.split(1)],
        lambda: estimate(y),
    )


def refresh(model: PretrainedModel) -> Alternatives:
    """Four optimiser steps with x' estimated at each, or at the first only."""
    import threestudio

    def steps(refresh_every: int) -> Timed:
        cfg = {
            "pretrained_model_name_or_path": asset(TINY_PRIOR),
            "trainer_max_steps": 100,
            "refresh_every": refresh_every,
        }
        guidance, embeddings, index = (
            threestudio.find("msd-guidance")(cfg),
            Embeddings(model),
            torch.arange(8),
        )
        rgb = torch.rand(8, 64, 64, 3).requires_grad_()

        def run() -> None:
            for step in range(4):
                guidance.update_step(0, step)
                guidance(rgb, embeddings, index=index)["loss_msd"].backward()

        return run

    return "four optimiser steps, encoder included: refresh_every 1 / 4", steps(1), steps(4)


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


def scenes(model: PretrainedModel) -> Alternatives:
    """A step of a scene, four views of 64 x 64, empty space skipped: on a hash grid, or on dense lattices."""
    import threestudio

    def step(kind: str, settings: dict[str, object]) -> Timed:
        geometry = threestudio.find(kind)(settings)
        parts = {
            "geometry": geometry,
            "material": threestudio.find("no-material")({}),
            "background": threestudio.find("solid-color-background")({}),
        }
        renderer = threestudio.find("nerf-volume-renderer")(
            {"radius": 0.68, "num_samples_per_ray": 48}, **parts
        ).train()
        optimiser = torch.optim.Adam(geometry.parameters())
        cameras = sample_cameras(4, torch.Generator().manual_seed(0))
        rays_d, position = cameras.rays(64), cameras.position
        rays = {"rays_o": position[:, None, None].expand_as(rays_d), "rays_d": rays_d}
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


class Embeddings:
    """Random text embeddings in the place of a prompt processor's."""

    use_perp_neg = False

    def __init__(self, model: PretrainedModel) -> None:
        self.model = model

    def get_text_embeddings(self, elevation: torch.Tensor, *_: object) -> torch.Tensor:
        """Conditional and unconditional, `[2B, N, C]`."""
        return text(self.model, 2 * len(elevation))["encoder_hidden_states"]


def latents(model: PretrainedModel, rows: int) -> torch.Tensor:
    """Random latents of the model's shape."""
    return torch.randn(rows, *model.latent_shape)


def text(model: PretrainedModel, rows: int) -> dict[str, torch.Tensor]:
    """A random condition of the model's shape."""
    width = model.backbone.config.cross_attention_dim
    return {"encoder_hidden_states": torch.randn(1, 16, width).expand(rows, -1, -1)}


BENCHMARKS = (guidance_branches, particles, chunks, refresh, scenes)


def as_table(ratios: Sequence[Ratio], title: str) -> Table:
    """For the terminal."""
    table = Table(title=title)
    for heading in ("comparison", "plain (ms)", "fast (ms)", "plain / fast", "quartiles"):
        table.add_column(heading)
    for row in ratios:
        low, high = row.quartiles
        numbers = (
            f"{row.plain_ms:.1f}",
            f"{row.fast_ms:.1f}",
            f"{row.ratio:.2f}",
            f"{low:.2f} to {high:.2f}",
        )
        table.add_row(row.comparison, *numbers)
    return table
