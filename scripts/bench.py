"""Measure what the project's shortcuts gain: ratios of alternatives timed side by side, on the embedded prior.

    python scripts/bench.py [--rounds 9] [--threads 2] [--json OUT]

Every round runs all alternatives of a comparison in turn, so that a busy machine slows them alike; a ratio is
the median over rounds of plain / fast time, with its quartiles.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "custom")]

import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from launcher.host import find_host, import_host  # noqa: E402

if TYPE_CHECKING:
    from threestudio_msd.priors import PretrainedModel

Timed = Callable[[], object]


def seconds(function: Timed) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def compare(name: str, plain: Timed, fast: Timed, rounds: int) -> dict[str, object]:
    """Time two alternatives in turn; the first round only warms up."""
    times = [(seconds(plain), seconds(fast)) for _ in range(rounds + 1)][1:]
    ratios = sorted(a / b for a, b in times)
    low, middle, high = statistics.quantiles(ratios, n=4) if rounds > 1 else ratios * 3
    return {
        "comparison": name,
        "plain_ms": 1e3 * statistics.median(a for a, _ in times),
        "fast_ms": 1e3 * statistics.median(b for _, b in times),
        "ratio": middle,
        "quartiles": [low, high],
        "rounds": rounds,
    }


def guidance_branches(model: PretrainedModel) -> tuple[str, Timed, Timed]:
    """Classifier-free guidance: two branches one after the other, or as one batch."""
    from threestudio_msd.priors import CFG

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


def particles(model: PretrainedModel) -> tuple[str, Timed, Timed]:
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


def chunks(model: PretrainedModel) -> tuple[str, Timed, Timed]:
    """The same estimate for sixteen images, one image at a time or all at once."""
    from threestudio_msd.distillation import MSD, Constant, Posterior, SampleNoise
    from threestudio_msd.priors import CFG

    denoiser, y = model.denoiser, latents(model, 16)
    msd = MSD(Posterior(4), Constant(1.0, 1.0))

    @torch.no_grad()
    def estimate(rows: torch.Tensor) -> object:
        condition = text(model, len(rows))
        prompted = CFG(denoiser, condition, condition, 3.0)
        return msd(rows, prompted, SampleNoise(range(len(rows))), 0.0)

    return (
        "MSD estimate, 4 calls: 16 times one image / 16 images at once",
        lambda: [estimate(row) for row in y.split(1)],
        lambda: estimate(y),
    )


def refresh(model: PretrainedModel) -> tuple[str, Timed, Timed]:
    """Four optimiser steps with x' estimated at each, or at the first only."""
    import threestudio

    def steps(refresh_every: int) -> Timed:
        cfg = {"pretrained_model_name_or_path": tiny_prior(), "refresh_every": refresh_every}
        guidance, embeddings, index = (
            threestudio.find("msd-guidance")(cfg),
            Embeddings(model),
            torch.arange(8),
        )
        rgb, camera = torch.rand(8, 64, 64, 3).requires_grad_(), torch.zeros(8)

        def run() -> None:
            for step in range(4):
                guidance.update_step(0, step)
                guidance(rgb, embeddings, camera, camera, camera, index=index)["loss_msd"].backward()

        return run

    return "four optimiser steps, encoder included: refresh_every 1 / 4", steps(1), steps(4)


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


def tiny_prior() -> str:
    """The embedded prior's folder."""
    from threestudio_msd.assets_path import TINY_PRIOR, asset

    return asset(TINY_PRIOR)


def main() -> None:
    """Run every comparison and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    import_host(find_host())
    import threestudio_msd  # noqa: F401  (registers)
    from threestudio_msd.priors import load_model

    console, model = Console(), load_model(tiny_prior())
    rows = []
    for make in (guidance_branches, particles, chunks, refresh):
        with console.status(make.__doc__.splitlines()[0]):
            rows.append(compare(*make(model), args.rounds))
    table = Table(title=f"torch {torch.__version__}, {args.threads} threads, {args.rounds} rounds")
    for heading in ("comparison", "plain (ms)", "fast (ms)", "plain / fast", "quartiles"):
        table.add_column(heading)
    for row in rows:
        low, high = row["quartiles"]
        cells = [
            f"{row['plain_ms']:.1f}",
            f"{row['fast_ms']:.1f}",
            f"{row['ratio']:.2f}",
            f"{low:.2f} to {high:.2f}",
        ]
        table.add_row(row["comparison"], *cells)
    console.print(table)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
