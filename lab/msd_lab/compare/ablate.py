"""Ablations of mean-shift distillation, one comparison for every choice that it leaves open; and searches.

python -m msd_lab ablate --config configs/msd-tiny.yaml \\
    --prompts custom/threestudio_msd/assets/prompts-tiny.txt --only sampler bandwidth \\
    --budget steps=80 --out outputs/ablations

python -m msd_lab ablate --search 8 --search-prompts "a red car" "a blue chair" \\
    --config configs/{msd,sds,sdi,vsd,ism}-tiny.yaml \\
    --prompts custom/threestudio_msd/assets/prompts-tiny.txt --budget nfe=320 --out outputs/search

Each group's report is OUT/GROUP/index.html. A search gives every config the same number of
trials of guidance scale and learning rate on prompts and seeds of their own, OUT/search, then
compares the best of each, OUT/best.
Options that this program does not know go to `python -m msd_lab compare`.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from threestudio_msd.errors import UserError, did_you_mean

from launcher.config import load_yaml

from ..commands import COMMANDS
from .methods import Method
from .prompts import read_prompts
from .results import Figures, Results, Rows, from_json
from .search import FIRST_SEED, best, require_apart, trials
from .variants import GROUPS, write_variants

METHOD = "msd-guidance"
NO_REPORT = (UserError.status, 130)  # statuses of a comparison that was not made


def compare(title: str, out: Path, methods: Sequence[str], prompts: Sequence[str], others: Sequence) -> int:
    words = ["--configs", *methods, "--prompts", *prompts, *others, "--title", title, "--out", out]
    return COMMANDS["compare"]([*map(str, words)])


def ablate(args: argparse.Namespace) -> int:
    """Run a comparison a group; returns the worst of their statuses.

    Raises:
        UserError: The config is not one of mean-shift distillation, or a group is unknown.
    """
    config, *further = args.config
    if further or not Path(config).is_file():
        raise UserError(f"--config: expected one file, got {' '.join(args.config)}")
    for group in args.only or ():
        if group not in GROUPS:
            raise UserError(
                f"--only: expected some of {', '.join(GROUPS)}, got {group!r}{did_you_mean(group, GROUPS)}"
            )
    system = load_yaml(config).get("system")
    guidance = system.get("guidance_type", METHOD) if hasattr(system, "get") else METHOD
    if guidance != METHOD:
        raise UserError(f"--config: expected one of {METHOD}, whose choices are ablated, got {guidance}")
    statuses = []
    for group in args.only or GROUPS:
        variants = write_variants(config, group, args.out / group / "configs")
        statuses.append(compare(f"Ablation: {group}", args.out / group, variants, args.prompts, args.others))
        if statuses[-1] in NO_REPORT:  # the other groups would end alike
            break
    return max(statuses)


def search(args: argparse.Namespace) -> int:
    """Try settings of every config, then compare the best; returns the status of the first that fails."""
    tried = {method: trials(method, args.search) for method in map(Method.parse, args.config)}
    prompts, apart = read_prompts(args.prompts), read_prompts(args.search_prompts, "--search-prompts")
    require_apart(prompts, apart)
    words = [trial.word for own in tried.values() for trial in own]
    seeded = [*args.others, "--first-seed", FIRST_SEED]
    status = compare("Search", args.out / "search", words, apart, seeded)
    if status in NO_REPORT:
        return status
    rows, ddim = read_rows(args.out / "search" / "results.json")
    chosen = [best(method, own, rows, ddim) for method, own in tried.items()]
    for method in chosen:
        settings = ", ".join(method.overrides) or "as it is"
        print(f"{method.label}: chosen of {args.search} trials: {settings}", flush=True)
    words = [method.word for method in chosen]
    return compare("The best of each search", args.out / "best", words, prompts, args.others)


def read_rows(results: Path) -> tuple[Rows, Figures]:
    """The rows of a `results.json`'s first budget, and the figures of DDIM images."""
    found = from_json(Results, json.loads(results.read_text(encoding="utf-8")))
    return next(iter(found.budgets.values())), found.ddim


def run(args: argparse.Namespace) -> int:
    return ablate(args) if args.search is None else search(args)
