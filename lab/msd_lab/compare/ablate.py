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
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from omegaconf import OmegaConf
from threestudio_msd.errors import UserError, did_you_mean
from torch.quasirandom import SobolEngine

from launcher.config import load_yaml

from ..commands import COMMANDS, SHARED
from .execution import check_runs
from .image import from_options
from .methods import Method, read_methods
from .prompts import read_prompts
from .results import Figures, Results, Rows, from_json
from .variants import GROUPS, write_variants

METHOD = "msd-guidance"
NO_REPORT = (UserError.status, 130)  # statuses of a comparison that was not made

Space = Mapping[str, tuple[float, float]]
"""Settings and their bounds, on logarithmic axes."""

SPACE: Space = {
    "system.guidance.guidance_scale": (1.0, 101.0),
    "system.optimizer.args.lr": (0.003, 0.1),
}
"""The settings that are searched for every method."""

OWN: Mapping[str, Space] = {"msd-guidance": {"system.guidance.bandwidth.end": (0.3, 3.0)}}
"""A further one, the finest or coarsest scale, by guidance type."""

TIMES: Space = {"system.guidance.max_step_percent": (0.3, 0.98)}
"""The same of methods that add noise to renders."""

FIRST_SEED = 500
"""The first seed of the search, whose seeds are thereby not those of the comparison that follows."""

FIGURE = "frechet_ddim"
"""The figure that the best trial minimises: in units of DDIM's own and averaged over all extractors, so that
no method is tuned to one network.
"""


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
        if args.only.count(group) > 1:
            raise UserError(f"--only: given twice: {group}")
        if group not in GROUPS:
            raise UserError(
                f"--only: expected some of {', '.join(GROUPS)}, got {group!r}{did_you_mean(group, GROUPS)}"
            )
    system = load_yaml(config).get("system")
    guidance = system.get("guidance_type", METHOD) if hasattr(system, "get") else METHOD
    if guidance != METHOD:
        raise UserError(f"--config: expected one of {METHOD}, whose choices are ablated, got {guidance}")
    require_comparable(args, args.config, args.prompts)
    statuses = []
    for group in args.only or GROUPS:
        variants = write_variants(config, group, args.out / group / "configs")
        statuses.append(compare(f"Ablation: {group}", args.out / group, variants, args.prompts, args.others))
        if statuses[-1] in NO_REPORT:  # the other groups would end alike
            break
    return max(statuses)


def trials(method: Method, count: int) -> list[Method]:
    """A method as it is, and `count - 1` times with settings of its `space`, the same points for each.

    Raises:
        UserError: There would be nothing to choose from.
    """
    if count < 2:
        raise UserError(f"--search: expected 2 or more trials of a method, got {count}")
    axes = space(method)
    points = SobolEngine(len(axes)).draw(count)[1:].tolist()  # the first is the corner of all least values
    settings = [()] + [
        tuple(
            f"{key}={math.exp(math.log(low) + part * math.log(high / low)):.3g}"
            for (key, (low, high)), part in zip(axes.items(), point, strict=True)
        )
        for point in points
    ]
    return [
        replace(method, label=f"{method.label} {i}", overrides=(*method.overrides, *chosen))
        for i, chosen in enumerate(settings)
    ]


def space(method: Method) -> Space:
    """What is searched for a method: as many settings for each."""
    guidance = OmegaConf.select(OmegaConf.load(method.config), "system.guidance_type")
    return {**SPACE, **OWN.get(guidance, TIMES)}


def best(method: Method, tried: Sequence[Method], rows: Rows, ddim: Figures) -> Method:
    """A method with the settings of the best of its trials; `ddim` are the figures of DDIM images.

    Raises:
        UserError: None of them was finished and measured.
    """
    found = {
        trial: _distance(rows[trial.label].figures, ddim)
        for trial in tried
        if trial.label in rows and FIGURE in rows[trial.label].figures
    }
    known = [trial for trial, value in found.items() if not math.isnan(value)]
    if not known:
        raise UserError(f"--search: {method.label}: no trial was finished and has a figure {FIGURE}")
    return replace(method, overrides=min(known, key=found.__getitem__).overrides)


def _distance(figures: Figures, ddim: Figures) -> float:
    names = [name for name in figures if name.partition("@")[0] == FIGURE]
    return sum(figures[name].mean / ddim[name].mean for name in names) / len(names)


def require_apart(prompts: Sequence[str], others: Sequence[str]) -> None:
    """Settings may not be chosen on what they are measured on.

    Raises:
        UserError: The lists of prompts share one.
    """
    shared = [prompt for prompt in prompts if prompt in others]
    if shared:
        raise UserError(
            f"--search-prompts: {shared[0]!r} is among --prompts too; settings are chosen on others"
        )


def search(args: argparse.Namespace) -> int:
    """Try settings of every config, then compare the best; returns the status of the first that fails."""
    tried = {method: trials(method, args.search) for method in read_methods(args.config)}
    prompts, apart = read_prompts(args.prompts), read_prompts(args.search_prompts, "--search-prompts")
    require_apart(prompts, apart)
    words = [trial.word for own in tried.values() for trial in own]
    require_comparable(args, words, prompts)
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


def require_comparable(args: argparse.Namespace, methods: Sequence[str], prompts: Sequence[str]) -> None:
    """Check what `compare` is given, before anything is written or run.

    Raises:
        UserError: It would refuse an option or a method, or an option would have no effect.
    """
    unused = {"only": args.search and args.only, "search-prompts": not args.search and args.search_prompts}
    words = ["--configs", *methods, "--prompts", *prompts, *args.others, "--out", args.out]
    options = COMMANDS["compare"].parse([*map(str, words)])
    unused["title"] = options.title != SHARED["title"]["default"]
    for name, given in unused.items():
        if given:
            raise UserError(f"--{name}: has no effect {'with' if args.search else 'without'} --search")
    comparison = from_options(options)
    comparison.check(check_runs(comparison.first_runs(), comparison.read))


def run(args: argparse.Namespace) -> int:
    return ablate(args) if args.search is None else search(args)
