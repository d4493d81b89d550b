"""Measure what the project's shortcuts gain: alternatives timed side by side, on the embedded prior.

python scripts/bench.py --rounds 9 --threads 2 --json bench.json

Every round runs all alternatives of a comparison in turn, so that a busy machine slows them alike; a ratio is
the median over rounds of plain / fast time, with its quartiles.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launcher.script import with_host


def run(args: argparse.Namespace) -> int:
    """Time, print, write."""
    import torch
    from rich.console import Console
    from threestudio_msd.assets_path import TINY_PRIOR, asset
    from threestudio_msd.evaluation.benchmark import BENCHMARKS, as_table, timed
    from threestudio_msd.evaluation.results import to_json
    from threestudio_msd.files import save_text
    from threestudio_msd.priors import load_model

    torch.set_num_threads(args.threads)
    console, model, ratios = Console(), load_model(asset(TINY_PRIOR)), []
    for benchmark in BENCHMARKS:
        with console.status(benchmark.__doc__.splitlines()[0]):
            ratios.append(timed(*benchmark(model), args.rounds))
    title = f"torch {torch.__version__}, {args.threads} threads, {args.rounds} rounds"
    console.print(as_table(ratios, title))
    if args.json:
        save_text(json.dumps({"about": title, "ratios": to_json(ratios)}, indent=1), args.json)
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    if min(args.rounds, args.threads) < 1:
        parser.error("--rounds and --threads: expected 1 or more")
    return with_host(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
