"""The paper's Table 4: ten prompts by MSD, SDS, SDI and VSD on Stable Diffusion, beside DDIM's images.

python -m msd_lab table4                  # needs a GPU, Stable Diffusion, Inception and CLIP ViT-L/14
python -m msd_lab table4 --ray ADDRESS    # the runs spread over a Ray cluster that shares the files
python -m msd_lab table4 --dry-run        # all of it on random tiny models, in minutes on a CPU

OUT/table4.md is the table with the paper's figures beside, OUT/index.html the report. The command can be
interrupted and given again: finished runs are kept. FID is the Fréchet distance of Inception features to DDIM
images, equal to torchmetrics' (tests/lab/measure/test_metrics.py); CLIP similarity is 100 times the cosine.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import nan
from pathlib import Path

from threestudio_msd.files import save_text

from launcher.host import ROOT

from ..bench.random_pipelines import save_random_clip, save_random_pipeline
from ..report.table import Spread, Table, number
from .costs import Budget
from .engine import run_comparison
from .execution import executor
from .image import ImageComparison, from_options
from .methods import DDIM
from .results import Figures, Results

METHODS = ("msd", "sds", "sdi", "vsd")
"""By their configs, `METHOD-sd.yaml`."""
HEAD = ("method", "FID ↓", "paper", "CLIP similarity ↑", "paper", "optimiser steps", "network calls")


@dataclass(frozen=True)
class Published:
    """A line of Table 4: Fréchet inception distance to DDIM images; CLIP similarity (ViT-L/14), ± its
    deviation.
    """

    fid: float
    clip: float
    clip_std: float


PAPER: Mapping[str, Published] = {
    DDIM: Published(nan, 44.1, 2.8),
    "SDS": Published(198.90, 27.7, 1.9),
    "VSD": Published(130.22, 30.8, 1.4),
    "SDI": Published(166.16, 31.0, 0.7),
    "MSD": Published(114.12, 32.6, 0.8),
}
"""Thamizharasan et al. 2025, Table 4."""


class Table4(ImageComparison):
    """A comparison of images whose first budget is reported beside the paper's figures."""

    def report(self, results: Results) -> str:
        *_, page = super().report(results).splitlines()
        table = table4(results)
        save_text(table, self.out / "table4.md")
        return f"{table}\n{page}"


def table4(results: Results) -> str:
    """The table as Markdown, of the comparison's first budget, with what it was measured on."""
    ((budget, found),) = list(results.budgets.items())[:1]
    rows = []
    for label, published in PAPER.items():
        row = found.get(label)
        measured = results.ddim if label == DDIM else row.figures if row else {}
        fid = "–" if label == DDIM else number(published.fid, ".2f")
        clip = f"{published.clip} ± {published.clip_std}"
        spent = (f"{row.taken:.0f}", f"{row.nfe:.0f}") if row else ("–", "–")
        rows.append((label, of(measured, "frechet_ddim"), fid, of(measured, "clip_similarity"), clip, *spent))
    about = results.about
    counts = f"{len(about.prompts)} prompts, {len(about.seeds)} seeds, {about.images} images a method"
    return (
        f"{Table(HEAD, rows).markdown()}\n\n"
        f"`{budget}`, {counts}; {about.references['ddim']} DDIM images ({about.sampling}); "
        f"features: {about.features}; ±: {about.spread}. "
        "The distance of the DDIM line is that of other DDIM images to these.\n"
    )


def of(figures: Figures, name: str) -> str:
    return next(
        (spread for key, spread in figures.items() if key.partition("@")[0] == name), Spread(())
    ).text()


def rehearsal(folder: Path) -> tuple[list[str], list[str]]:
    """Make the models of a dry run: a random, tiny pipeline of Stable Diffusion's architecture and a CLIP.

    Args:
        folder: Where they are written, once.

    Returns:
        Overrides of the configs, and the features.
    """
    model, clip = folder / "model", folder / "clip"
    if not (model / "model_index.json").is_file():
        save_random_pipeline(model, "sd21", tokens=77)
    if not (clip / "config.json").is_file():
        save_random_clip(clip)
    sizes = [f"data.{name}=16" for name in ("height", "width", "eval_height", "eval_width")]
    small = ["system.geometry.width=16", "system.geometry.depth=1", "system.prompt_processor.spawn=false"]
    path = f"system.prompt_processor.pretrained_model_name_or_path={model}"
    return [path, *sizes, *small], [f"clip={clip}"]


def run(args: argparse.Namespace) -> int:
    overrides = [f"system.prompt_processor.pretrained_model_name_or_path={args.model}"] if args.model else []
    for budget in args.budget:
        Budget.parse(budget)
    if args.dry_run:
        args.out = args.out.with_name(f"{args.out.name}-dry-run")
        overrides, args.features = rehearsal(args.out.resolve() / "models")
        args.budget, args.steps = ["steps=2"], 2
    args.configs = [",".join([str(ROOT / "configs" / f"{name}-sd.yaml"), *overrides]) for name in METHODS]
    args.first_seed, args.frames, args.quick, args.title = 0, 4, False, "Table 4"
    comparison = from_options(args, Table4)
    comparison = replace(comparison, probes=(1, 2)) if args.dry_run else comparison
    return run_comparison(comparison, executor("launch:main", args.jobs, args.ray))[1]
