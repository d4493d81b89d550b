"""Compare methods in 3D on the tiny world, whose truth is known: every config, prompt and seed.

python scripts/compare_3d.py --configs configs/msd-nerf-tiny.yaml configs/sds-nerf-tiny.yaml \
    --prompts "a red mug" --seeds 3 --out outputs/compare-3d

A config is a file, or LABEL=FILE, or FILE,key=value,... with settings of its own. Finished runs are kept: the
same command goes on where it stopped. OUT/index.html shows tables, turntables and curves; OUT/tables.md has
the table alone, OUT/results.json every run's figures, OUT/turntables.mp4 and OUT/sheet.png the scenes.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launcher.script import require_folder, with_host


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--configs", nargs="+", required=True, metavar="CONFIG")
    add("--prompts", nargs="+", required=True, help="prompts, or .txt files with one a line")
    add("--seeds", type=int, default=3)
    add(
        "--share",
        type=float,
        default=1.0,
        help="part of the configs' own steps, which cost equal evaluations",
    )
    add("--jobs", type=int, default=2, help="local processes")
    add("--out", type=Path, required=True)
    return parser


def run(args: argparse.Namespace) -> int:
    """Compare and print the table; returns 1 if a run failed."""
    from msd_lab.compare.grid import Method, executor
    from msd_lab.compare.prompts import read_prompts
    from msd_lab.compare.scenes import compare_scenes
    from msd_lab.report.scene import write_report

    from launcher.checks.config import read_checked

    require_folder(args.out)
    methods, prompts = [Method.parse(word) for word in args.configs], read_prompts(args.prompts)
    out, execute = args.out.resolve(), executor("launch:main", args.jobs)
    results = compare_scenes(methods, prompts, args.seeds, args.share, out, execute, read_checked)
    page = write_report(results, out)
    print(f"\n{(out / 'tables.md').read_text(encoding='utf-8')}\n{page}")
    return int(any(len(runs) < len(prompts) * args.seeds for runs in results.values()))


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns 0, 1 if a run failed, 2 for what the user can mend, 130 after Ctrl-C."""
    args = arguments().parse_args(argv)
    return with_host(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
