"""Compare methods: every config on every prompt with every seed at equal budgets, measured and reported.

python scripts/compare.py --configs configs/msd-tiny.yaml configs/sds-tiny.yaml --prompts "a red mug" \\
    --seeds 3 --budget steps=80 nfe=320 --out outputs/compare

A config is a file, or LABEL=FILE, or FILE,key=value,... with settings of its own. Finished runs are kept: the
same command goes on where it stopped. OUT/index.html is the report, OUT/results.json its figures,
OUT/tables.md its tables, OUT/sheet-BUDGET.png its pictures.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launcher.script import with_host


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--configs", nargs="+", required=True, metavar="CONFIG")
    add("--prompts", nargs="+", required=True, help="prompts, or .txt files with one a line")
    add("--seeds", type=int, default=3, help="number of seeds, counted from --first-seed")
    add("--first-seed", type=int, default=0)
    add("--particles", type=int, default=4, help="images a run")
    add(
        "--budget",
        nargs="+",
        default=["steps=100"],
        metavar="KIND=N",
        help="steps, nfe, flop, seconds; one table each",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--jobs", type=int, default=2, help="local processes")
    where.add_argument(
        "--ray", metavar="ADDRESS", help="a Ray cluster that shares the files; `local` starts one"
    )
    add(
        "--features",
        nargs="+",
        default=["judge", "second-judge"],
        metavar="NAME[=WEIGHTS]",
        help="judge, second-judge, probe, inception, clip; the first gives the curves",
    )
    add("--frames", type=int, default=8, help="points of the curves")
    add("--reference-particles", type=int, default=16, help="reference images a prompt")
    add("--scale", type=float, default=7.5, help="guidance of the DDIM images")
    add("--steps", type=int, default=50, help="steps of the DDIM images")
    add("--quick", action="store_true", help="a first look: three prompts, one seed, the first budget only")
    add("--title", default="Comparison")
    add("--out", type=Path, required=True)
    return parser


def run(args: argparse.Namespace) -> int:
    """Compare, report, and print the tables; returns 1 if a run failed."""
    from msd_lab.compare.arguments import compared

    results, page = compared(args)
    print(f"\n{page.with_name('tables.md').read_text(encoding='utf-8')}\n{page}")
    return 1 if results.failed else 0


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns 0, 1 if a run failed, 2 for what the user can mend, 130 after Ctrl-C."""
    args = arguments().parse_args(argv)
    return with_host(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
