"""Measure what the project costs, part by part.

python scripts/bench.py --json bench.json          # everything, on the embedded prior
python scripts/bench.py --quick --parts overhead   # one part, fewer rounds
python scripts/bench.py --gpu                      # the configs on this machine's GPU, into docs/gpu.md

overhead: a guidance call over the bare network calls that it makes. threestudio: our SDS and SDI beside its
own, where THREESTUDIO_ROOT names a checkout (without a GPU, THREESTUDIO_SHIM a folder of stand-ins for its
CUDA packages). shares: a step by parts, in seconds on the embedded prior and in FLOP at the sizes of Stable
Diffusion 1.5, 2.1, XL and 3. memory and scaling: a step as the trainer takes it, against particles and
cameras. gains: what the project's shortcuts gain. Alternatives are timed in turn, so that a busy machine
slows them alike; a ratio is the median over rounds, with its quartiles.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launcher.script import require_writable, with_host

ROOT = Path(__file__).resolve().parents[1]
GPU_PAGE = ROOT / "docs" / "gpu.md"


@dataclass(frozen=True)
class Effort:
    """How much is measured: rounds of every ratio, batches, particles, cameras, and steps of a window."""

    rounds: int
    batches: tuple[int, ...] = (1, 4, 16)
    particles: tuple[int, ...] = (1, 2, 4, 8, 16)
    cameras: tuple[int, ...] = (1, 2, 4)
    steps: int = 8


def quick(rounds: int) -> Effort:
    """A first look."""
    return Effort(min(rounds, 5), (1, 4), (1, 4), (1, 2), 4)


def overhead(effort: Effort) -> list[Any]:
    """A guidance call over its bare network calls."""
    from msd_lab.bench.overhead import overheads
    from threestudio_msd.assets_path import TINY_PRIOR, asset

    found = list(overheads(asset(TINY_PRIOR), effort.rounds, effort.batches))
    show(
        "a guidance call over its bare network calls, embedded prior",
        ("guidance", "batch", "network calls", "ratio", "quartiles", "ms"),
        [
            (one.guidance, one.batch, one.calls, *ratio(one.times), f"{one.times.plain_ms:.1f}")
            for one in found
        ],
    )
    return found


def threestudio(effort: Effort) -> list[Any] | None:
    """Our SDS and SDI beside threestudio's."""
    from msd_lab.bench.overhead import beside_threestudio, has_peers

    if not has_peers():
        print("beside threestudio: left out, THREESTUDIO_ROOT names no checkout")
        return None
    with tempfile.TemporaryDirectory() as folder:
        found = list(beside_threestudio(Path(folder) / "model", effort.rounds))
    show(
        "beside threestudio's own, the same pipeline and latents",
        ("method", "latents", "its calls", "ours", "our time a call in its", "its ms", "our ms"),
        [
            (
                one.method,
                one.batch,
                one.their_calls,
                one.our_calls,
                f"{one.per_call:.3f}",
                f"{one.times.plain_ms:.1f}",
                f"{one.times.fast_ms:.1f}",
            )
            for one in found
        ],
    )
    return found


def shares(effort: Effort) -> dict[str, Any]:
    """A step by parts."""
    from msd_lab.bench.shares import EMBEDDINGS, Costs, as_rows, best_of, costs_on_meta, flop, shares_of
    from threestudio_msd.assets_path import TINY_PRIOR, asset
    from threestudio_msd.priors import load_model

    model = load_model(asset(TINY_PRIOR))
    prompt = (16, model.backbone.config.cross_attention_dim)
    tiny = {
        kind: Costs.of("tiny prior", model, shares_of(model, prompt, measure))
        for kind, measure in (("seconds", best_of(effort.rounds)), ("flop", flop))
    }
    large = [costs_on_meta(like) for like in EMBEDDINGS]
    parts = list(as_rows(large[0], 1.0))
    show(
        "a step by parts, one image; TFLOP but for the first line",
        ("model", "pixels", *parts, "encoder's gradient in an SDS step", "decoded target pays from"),
        [
            (
                name,
                costs.resolution,
                *(f"{value:.3g}" for value in as_rows(costs, unit).values()),
                f"{100 * costs.encoder_share:.0f} %",
                f"refresh_every {costs.decoding_pays_from}",
            )
            for name, costs, unit in (
                ("tiny prior, ms", tiny["seconds"], 1e-3),
                ("tiny prior", tiny["flop"], 1e12),
                *((costs.model, costs, 1e12) for costs in large),
            )
        ],
    )
    return {"tiny": tiny, "large": large}


def scaling(effort: Effort) -> dict[str, Any]:
    """A step as the trainer takes it, and its memory, against particles and cameras."""
    from msd_lab.bench.steps import measure_steps

    from launcher.config import read

    sweeps = {
        "msd-tiny": ("data.n_particles", effort.particles),
        "sds-tiny": ("data.n_particles", effort.particles[-1:]),
        "msd-nerf-tiny": ("data.batch_size", effort.cameras),
    }
    found: dict[str, Any] = {}
    for config, (key, values) in sweeps.items():
        for value in values:
            once = ["system.progress_every=1000"] if key == "data.n_particles" else []
            cfg = read(str(ROOT / "configs" / f"{config}.yaml"), [f"{key}={value}", *once])
            found[f"{config}, {key}={value}"] = measure_steps(cfg, effort.steps)
    show(
        "an optimiser step as the trainer takes it",
        ("config", "ms", "GFLOP", "memory (MiB)", "of these weights"),
        [
            (
                name,
                f"{1e3 * one.seconds:.1f}",
                f"{one.flop / 1e9:.2f}",
                f"{one.bytes / 2**20:.0f}",
                f"{one.weights / 2**20:.0f}",
            )
            for name, one in found.items()
        ],
    )
    return found


def gains(effort: Effort) -> list[Any]:
    """What the project's shortcuts gain."""
    from msd_lab.bench.benchmark import BENCHMARKS, timed
    from threestudio_msd.assets_path import TINY_PRIOR, asset
    from threestudio_msd.priors import load_model

    model = load_model(asset(TINY_PRIOR))
    found = [timed(*benchmark(model), effort.rounds) for benchmark in BENCHMARKS]
    show(
        "shortcuts",
        ("comparison", "plain (ms)", "fast (ms)", "plain / fast", "quartiles"),
        [(one.comparison, f"{one.plain_ms:.1f}", f"{one.fast_ms:.1f}", *ratio(one)) for one in found],
    )
    return found


PARTS: dict[str, Callable[[Effort], Any]] = {
    "overhead": overhead,
    "threestudio": threestudio,
    "shares": shares,
    "scaling": scaling,
    "gains": gains,
}


def ratio(times: Any) -> tuple[str, str]:
    """A ratio and its quartiles, for a table."""
    low, high = times.quartiles
    return f"{times.ratio:.3f}", f"{low:.3f} to {high:.3f}"


def show(title: str, heading: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """Print a table in Markdown."""
    from msd_lab.markdown import markdown_table

    print(f"\n{title}\n\n{markdown_table(heading, rows)}", flush=True)


def run(args: argparse.Namespace) -> int:
    """Measure, print, write."""
    require_writable("--json", args.json)
    import torch
    from msd_lab.compare.results import to_json
    from threestudio_msd.files import save_text

    torch.set_num_threads(args.threads)
    effort = quick(args.rounds) if args.quick else Effort(args.rounds)
    about = f"torch {torch.__version__}, {args.threads} threads, {effort.rounds} rounds"
    print(about)
    found = {part: PARTS[part](effort) for part in args.parts}
    if args.json:
        save_text(json.dumps({"about": about, **to_json(found)}, indent=1), args.json)
    return 0


def run_on_gpu(args: argparse.Namespace) -> int:
    """Measure the configs, print the table, and put it into docs/gpu.md."""
    require_writable("--page", args.page)
    import torch
    from msd_lab.bench.accelerators import (
        LIKE,
        as_markdown,
        fill,
        measure_configs,
        peak_of,
        require_gpu,
        stand_in,
    )

    from launcher.config import read

    name = require_gpu()
    configs = {}
    for config in args.configs or LIKE:
        model = stand_in(config, args.models)
        path = ROOT / "configs" / f"{config}.yaml"
        configs[config] = read(str(path), [f"system.prompt_processor.pretrained_model_name_or_path={model}"])
    rows = list(measure_configs(configs, 4 if args.quick else 8, peak_of(name)))
    print(as_markdown(rows))
    fill(args.page, f"{name}, torch {torch.__version__}", rows)
    return 0


def use_stand_ins() -> None:
    """Install the stand-ins for threestudio's CUDA packages, where a folder of them is named."""
    shim, root = os.environ.get("THREESTUDIO_SHIM"), os.environ.get("THREESTUDIO_ROOT")
    if shim and root:
        sys.path[:0] = [shim, root]
        import threestudio_cpu

        threestudio_cpu.install()


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="which; all by default")
    add("--rounds", type=int, default=15)
    add("--threads", type=int, default=1)
    add("--quick", action="store_true", help="a first look, in three minutes")
    add("--json", type=Path)
    add("--gpu", action="store_true", help="fill docs/gpu.md instead")
    add("--configs", nargs="+", metavar="NAME", help="with --gpu: some of the configs only")
    add("--models", type=Path, default=Path("outputs/random"), help="with --gpu: where random pipelines lie")
    add("--page", type=Path, default=GPU_PAGE, help="with --gpu: the page to fill")
    args = parser.parse_args(argv)
    for name, most in (("rounds", 10_000), ("threads", os.cpu_count() or 1)):
        if not 1 <= getattr(args, name) <= most:
            parser.error(f"--{name}: expected a number from 1 to {most}, got {getattr(args, name)}")
    for config in args.configs or ():
        if not (ROOT / "configs" / f"{config}.yaml").is_file():
            parser.error(f"--configs: configs/ has no {config}.yaml")
    use_stand_ins()
    return with_host(lambda: run_on_gpu(args) if args.gpu else run(args))


if __name__ == "__main__":
    sys.exit(main())
