"""Ablations of mean-shift distillation, one comparison for every choice that it leaves open; and searches.

python scripts/ablate.py --config configs/msd-tiny.yaml \\
    --prompts custom/threestudio_msd/assets/prompts-tiny.txt --only sampler bandwidth \\
    --budget steps=80 --out outputs/ablations

python scripts/ablate.py --search 8 --search-prompts "a red car" "a blue chair" \\
    --config configs/{msd,sds,sdi,vsd,ism}-tiny.yaml \\
    --prompts custom/threestudio_msd/assets/prompts-tiny.txt --budget nfe=320 --out outputs/search

Each group's report is OUT/GROUP/index.html. A search gives every config the same number of trials of guidance
scale and learning rate on prompts and seeds of their own, OUT/search, then compares them with what each had
best, OUT/best. Options that this program does not know go to scripts/compare.py.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launcher import UserError
from launcher.script import in_one_line, require_folder

METHOD = "msd-guidance"
COMPARE = Path(__file__).resolve().parent / "compare.py"


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    from msd_lab.compare.ablation import GROUPS

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, groups = parser.add_argument, ", ".join(GROUPS)
    add("--config", nargs="+", required=True, help="what every variant departs from; several for a search")
    add("--prompts", nargs="+", required=True, help="prompts, or .txt files with one a line")
    add("--only", nargs="+", choices=sorted(GROUPS), default=list(GROUPS), metavar="GROUP", help=groups)
    add("--search", type=int, metavar="N", help="instead: N trials of every config")
    add("--search-prompts", nargs="+", default=[], help="prompts of the search, none of --prompts")
    add("--out", type=Path, required=True)
    return parser


def compare(title: str, out: Path, methods: Sequence[str], prompts: Sequence[str], others: Sequence) -> int:
    """Run scripts/compare.py; returns its status."""
    words = ["--configs", *methods, "--prompts", *prompts, *others, "--title", title, "--out", out]
    return subprocess.call([sys.executable, COMPARE, *map(str, words)])


def ablate(args: argparse.Namespace, others: Sequence[str]) -> int:
    """Run a comparison a group; returns the worst of their statuses."""
    from msd_lab.compare.ablation import write_variants

    from launcher.config import load_yaml

    config, *further = args.config
    if further or not Path(config).is_file():
        raise UserError(f"--config: expected one file, got {' '.join(args.config)}")
    system = load_yaml(config).get("system")
    guidance = system.get("guidance_type", METHOD) if hasattr(system, "get") else METHOD
    if guidance != METHOD:
        raise UserError(f"--config: expected one of {METHOD}, whose choices are ablated, got {guidance}")
    statuses = []
    for group in args.only:
        variants = write_variants(config, group, args.out / group / "configs")
        statuses.append(compare(f"Ablation: {group}", args.out / group, variants, args.prompts, others))
        if statuses[-1] == UserError.status:  # the other groups would say the same
            break
    return max(statuses)


def search(args: argparse.Namespace, others: Sequence[str]) -> int:
    """Try settings of every config, then compare the best; returns the status of the first that fails."""
    from msd_lab.compare.grid import Method
    from msd_lab.compare.prompts import read_prompts
    from msd_lab.compare.search import FIRST_SEED, best, read_table, require_apart, trials

    tried = {method: trials(method, args.search) for method in map(Method.parse, args.config)}
    prompts, apart = read_prompts(args.prompts), read_prompts(args.search_prompts, "--search-prompts")
    require_apart(prompts, apart)
    words = [trial.word for own in tried.values() for trial in own]
    seeded = [*others, "--first-seed", FIRST_SEED]
    status = compare("Search", args.out / "search", words, apart, seeded)
    if status == 2:
        return status
    table, ddim = read_table(args.out / "search" / "results.json")
    chosen = [best(method, own, table, ddim) for method, own in tried.items()]
    for method in chosen:
        print(
            f"{method.label}: chosen of {args.search} trials: {', '.join(method.overrides) or 'as it is'}",
            flush=True,
        )
    words = [method.word for method in chosen]
    return compare("The best of each search", args.out / "best", words, prompts, others)


def run(argv: list[str] | None = None) -> int:
    """Ablate or search."""
    args, others = arguments().parse_known_args(argv)
    require_folder(args.out)
    return ablate(args, others) if args.search is None else search(args, others)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the worst status of the comparisons, 2 for what the user can mend."""
    return in_one_line(lambda: run(argv))


if __name__ == "__main__":
    sys.exit(main())
