"""How noisy every method's gradient is on a pretrained prior, at renders along a run of the first method.

python scripts/variance.py --configs configs/{msd,sds,vsd,sdi}-tiny.yaml \\
    --prompts "a red mug" "a green car" --seeds 3 --out outputs/variance

A config is a file, or LABEL=FILE, or FILE,key=value,... with settings of its own. At the start, a third, two
thirds and the end of the first method's runs, every gradient is drawn --draws times: cosine of a draw to the
mean of the others, deviation relative to the mean's size, and the logarithm of signal over variance and cost
(Eq. 17). VSD's adapters are first trained on the renders of each place. OUT/tables.md and OUT/variance.json
hold what is printed; runs are kept.
"""

import argparse
import json
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
    add("--particles", type=int, default=4, help="renders of a prompt and seed")
    add("--draws", type=int, default=32, help="of every gradient at every render")
    add("--jobs", type=int, default=2, help="local processes")
    add("--out", type=Path, required=True)
    return parser


def run(args: argparse.Namespace) -> int:
    """Make renders, draw, print, write."""
    from msd_lab.compare.grid import Method, check_cells, executor
    from msd_lab.compare.prompts import read_prompts
    from msd_lab.compare.results import to_json
    from msd_lab.compare.variance import Study, as_markdown, measure
    from threestudio_msd.files import save_text

    from launcher.checks.config import read_checked

    require_folder(args.out)
    methods, prompts = [Method.parse(word) for word in args.configs], read_prompts(args.prompts)
    study = Study(methods, prompts, args.seeds, args.particles, args.draws, args.out)
    check_cells(study.cells(read_checked), read_checked)
    found = measure(study, executor("launch:main", args.jobs), read_checked)
    table = as_markdown(found)
    plain = {label: [[to_json(one) for one in seeds] for seeds in places] for label, places in found.items()}
    save_text(table + "\n", args.out / "tables.md")
    save_text(json.dumps(plain, indent=1) + "\n", args.out / "variance.json")
    print(f"{table}\n\n± is the deviation over {args.seeds} seeds, {args.draws} draws a render.")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns 0, 2 for what the user can mend, 130 after Ctrl-C."""
    args = arguments().parse_args(argv)
    return with_host(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
