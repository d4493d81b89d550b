"""Ablations of mean-shift distillation: one comparison for every choice that the method leaves open.

python scripts/ablate.py --config configs/msd-tiny.yaml --prompts custom/threestudio_msd/assets/prompts-tiny.txt \\
    --only sampler bandwidth --budget steps=80 --out outputs/ablations

Each group's report is OUT/GROUP/index.html. Options that this program does not know go to scripts/compare.py.
"""

import argparse
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launcher import UserError
from launcher.script import in_one_line

COMPARE = Path(__file__).resolve().parent / "compare.py"


def run(argv: list[str] | None = None) -> int:
    """Run a comparison a group; returns the worst of their exit statuses."""
    from threestudio_msd.evaluation.ablation import GROUPS, write_variants

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, groups = parser.add_argument, ", ".join(GROUPS)
    add("--config", required=True, help="the config that every variant departs from")
    add("--only", nargs="+", choices=sorted(GROUPS), default=list(GROUPS), metavar="GROUP", help=groups)
    add("--out", type=Path, required=True)
    args, others = parser.parse_known_args(argv)
    if not Path(args.config).is_file():
        raise UserError(f"--config: no such file: {args.config}")
    statuses = []
    for group in args.only:
        out = args.out / group
        variants = write_variants(args.config, group, out / "configs")
        titled = ["--title", f"Ablation: {group}", "--out", str(out)]
        statuses.append(subprocess.call([sys.executable, COMPARE, "--configs", *variants, *others, *titled]))
    return max(statuses)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the worst status of the comparisons, 2 for what the user can mend."""
    return in_one_line(lambda: run(argv))


if __name__ == "__main__":
    sys.exit(main())
