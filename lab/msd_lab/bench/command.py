"""Measure what the project costs, part by part.

python scripts/bench.py --json bench.json          # everything, on the embedded prior
python scripts/bench.py --quick --parts overhead   # one part, fewer rounds
python scripts/bench.py --gpu                      # the configs on this machine's GPU, into docs/gpu.md

overhead: a guidance call over the bare network calls that it makes. threestudio: our
SDS and SDI beside its own, where THREESTUDIO_ROOT names a checkout (without a GPU,
THREESTUDIO_SHIM a folder of stand-ins for its CUDA packages). shares: a step by parts,
in seconds on the embedded prior and in FLOP at the sizes of Stable Diffusion 1.5, 2.1,
XL and 3. scaling: a step as the trainer takes it and its memory, against particles and
cameras. estimates: the estimates of scripts/estimate.py beside runs. runs: the floating
point operations of whole runs of msd-sd and sds-sd. texturing: a mesh with a texture,
of its full surface and simplified. gains: what the project's shortcuts gain.
Alternatives are timed in turn, so that a busy machine slows them alike; a ratio is the
median over rounds, with its quartiles.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from launcher.script import Parser, require_writable, whole, with_host

from ..report.table import Table

ROOT = Path(__file__).resolve().parents[3]
GPU_PAGE = ROOT / "docs" / "gpu.md"
QUARTILES = "{low:.3f} to {high:.3f}"
STEP = ("render", "render_backward", "encode", "encode_backward", "network", "decode")
# How much is measured: batches, particles, cameras, and steps of a window
SIZES = {
    "batches": (1, 4, 16),
    "particles": (1, 2, 4, 8, 16),
    "cameras": (1, 2, 4),
    "steps": 8,
    "surfaces": (0, 10_000),
}
QUICK = {"batches": (1, 4), "particles": (1, 4), "cameras": (1, 2), "steps": 4, "surfaces": (10_000,)}


@dataclass(frozen=True)
class Benchmark:
    """A part of the measurements.

    Attributes:
        title: Of its table.
        columns: By heading, the format of a record's entry.
        module: Where its records come from, a module of this package.
        call: How: a function of the module, and the sizes that it takes.
    """

    title: str
    columns: Mapping[str, str]
    module: str
    call: tuple[str, ...]

    def measure(self, sizes: Mapping[str, object]) -> list[dict[str, object]]:
        """Measure, and print the table where there are records."""
        function, *names = self.call
        measure = getattr(import_module(f".{self.module}", __package__), function)
        records = list(measure(*(sizes[name] for name in names)))
        rows = [[form.format(**record) for form in self.columns.values()] for record in records]
        if rows:
            print(f"\n{self.title}\n\n{Table(list(self.columns), rows).markdown()}", flush=True)
        return records


BENCHMARKS = {
    "overhead": Benchmark(
        "a guidance call over its bare network calls, embedded prior",
        {
            "guidance": "{guidance}",
            "batch": "{batch}",
            "network calls": "{calls}",
            "ratio": "{ratio:.3f}",
            "quartiles": QUARTILES,
            "ms": "{plain_ms:.1f}",
        },
        "overhead",
        ("overheads", "rounds", "batches"),
    ),
    "threestudio": Benchmark(
        "beside threestudio's own, the same pipeline and latents",
        {
            "method": "{method}",
            "latents": "{batch}",
            "its calls": "{their_calls}",
            "ours": "{our_calls}",
            "our time a call in its": "{per_call:.3f}",
            "its ms": "{plain_ms:.1f}",
            "our ms": "{fast_ms:.1f}",
        },
        "overhead",
        ("beside_threestudio", "rounds"),
    ),
    "shares": Benchmark(
        "a step by parts, one image; TFLOP but for the first line",
        {
            "model": "{model}",
            "pixels": "{resolution}",
            **{part: f"{{{part}:.3g}}" for part in STEP},
            "encoder's gradient in an SDS step": "{encoder_percent:.0f} %",
            "decoded target pays from": "refresh_every {decoding_pays_from}",
        },
        "shares",
        ("all_shares", "rounds"),
    ),
    "scaling": Benchmark(
        "an optimiser step as the trainer takes it",
        {
            "config": "{config}",
            "ms": "{ms:.1f}",
            "GFLOP": "{gflop:.2f}",
            "memory (MiB)": "{bytes_mib:.0f}",
            "of these weights": "{weights_mib:.0f}",
        },
        "steps",
        ("scaling", "steps", "particles", "cameras"),
    ),
    "estimates": Benchmark(
        "an optimiser step run, and estimated without values",
        {
            "config": "{config}",
            "GFLOP": "{gflop:.3f}",
            "estimated": "{estimated_gflop:.3f}",
            "MiB": "{mib:.0f}",
            "estimated MiB": "{estimated_mib:.0f}",
        },
        "estimate",
        ("beside_runs",),
    ),
    "runs": Benchmark(
        "whole runs on Stable Diffusion 2.1, four images, counted without values",
        {"run": "{run}", "steps": "{steps}", "TFLOP": "{tflop:,.0f}", "msd-sd's part of it": "{part:.2f}"},
        "estimate",
        ("whole_runs",),
    ),
    "texturing": Benchmark(
        "a GLB with a texture, from a field to the file",
        {"faces": "{faces:,}", "seconds of a core": "{seconds:.1f}"},
        "texturing",
        ("texturing", "surfaces"),
    ),
    "gains": Benchmark(
        "shortcuts",
        {
            "comparison": "{comparison}",
            "plain (ms)": "{plain_ms:.1f}",
            "fast (ms)": "{fast_ms:.1f}",
            "plain / fast": "{ratio:.3f}",
            "quartiles": QUARTILES,
        },
        "benchmark",
        ("gains", "rounds"),
    ),
}


def measure(args: argparse.Namespace) -> int:
    """Measure, print, write."""
    require_writable("--json", args.json)
    require_writable("--page", args.page)
    if args.gpu:
        from .accelerators import LIKE, fill_page

        fill_page(args.page, args.models, args.configs or LIKE, 4 if args.quick else 8)
        return 0
    import torch
    from threestudio_msd.files import save_text

    torch.set_num_threads(args.threads)
    sizes = {"rounds": min(args.rounds, 5), **QUICK} if args.quick else {"rounds": args.rounds, **SIZES}
    about = f"torch {torch.__version__}, {args.threads} threads, {sizes['rounds']} rounds"
    print(about)
    found = {part: BENCHMARKS[part].measure(sizes) for part in args.parts}
    if args.json:
        save_text(json.dumps({"about": about, **found}, indent=1), args.json)
    return 0


def use_stand_ins() -> None:
    """Install the stand-ins for threestudio's CUDA packages, where a folder of them is
    named.
    """
    shim, root = os.environ.get("THREESTUDIO_SHIM"), os.environ.get("THREESTUDIO_ROOT")
    if shim and root:
        sys.path[:0] = [shim, root]
        import_module("threestudio_cpu").install()


def main(argv: list[str] | None = None) -> int:
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--parts", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS), help="which; all by default")
    add("--rounds", type=whole(), default=5)
    add("--threads", type=whole(1, os.cpu_count() or 1), default=1)
    add("--quick", action="store_true", help="a first look: fewer batches, particles, cameras and steps")
    add("--json", type=Path)
    add("--gpu", action="store_true", help="fill docs/gpu.md instead")
    add("--configs", nargs="+", metavar="NAME", help="with --gpu: some of the configs only")
    add("--models", type=Path, default=Path("outputs/random"), help="with --gpu: where random pipelines lie")
    add("--page", type=Path, default=GPU_PAGE, help="with --gpu: the page to fill")
    args = parser.parse_args(argv)
    for config in args.configs or ():
        if not (ROOT / "configs" / f"{config}.yaml").is_file():
            parser.error(f"--configs: configs/ has no {config}.yaml")
    use_stand_ins()
    return with_host(lambda: measure(args))


if __name__ == "__main__":
    sys.exit(main())
