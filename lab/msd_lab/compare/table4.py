"""The paper's Table 4, text to 2D on Stable Diffusion: what was measured, with the paper's figures beside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path

from ..bench.random_pipelines import save_random_clip, save_random_pipeline
from ..markdown import markdown_table
from ..report.table import Spread
from ..report.tables import number
from .grid import DDIM
from .results import Figures, Results

METHODS = ("msd", "sds", "sdi", "vsd")
"""By their configs, `METHOD-sd.yaml`."""


@dataclass(frozen=True)
class Published:
    """A line of Table 4: Fréchet inception distance to DDIM images, CLIP similarity (ViT-L/14) and its
    deviation.
    """

    fid: float
    clip: float
    clip_std: float

    @property
    def shown_fid(self) -> str:
        """As the paper prints it."""
        return "–" if isnan(self.fid) else f"{self.fid:.2f}"


PAPER: Mapping[str, Published] = {
    DDIM: Published(nan, 44.1, 2.8),
    "SDS": Published(198.90, 27.7, 1.9),
    "VSD": Published(130.22, 30.8, 1.4),
    "SDI": Published(166.16, 31.0, 0.7),
    "MSD": Published(114.12, 32.6, 0.8),
}
"""Thamizharasan et al. 2025, Table 4."""


def table4(results: Results) -> str:
    """The table as Markdown, of the comparison's first budget, with what it was measured on."""
    ((budget, table),) = list(results.budgets.items())[:1]
    heading = ("method", "FID ↓", "paper", "CLIP similarity ↑", "paper", "optimiser steps", "network calls")
    rows = []
    for label, published in PAPER.items():
        row = table.get(label)
        found = results.ddim if label == DDIM else row.figures if row else {}
        spent = (f"{row.taken:.0f}", f"{row.nfe:.0f}") if row else ("–", "–")
        figures = (told(found, "frechet_ddim"), published.shown_fid)
        figures += (told(found, "clip_similarity"), f"{published.clip} ± {published.clip_std}")
        rows.append((label, *figures, *spent))
    about = results.about
    counts = f"{len(about.prompts)} prompts, {len(about.seeds)} seeds, {about.images} images a method"
    return (
        f"{markdown_table(heading, rows)}\n\n"
        f"`{budget}`, {counts}; {about.references['ddim']} DDIM images ({about.sampling}); "
        f"features: {about.features}; ±: {about.spread}. "
        "The distance of the DDIM line is that of other DDIM images to these.\n"
    )


def told(figures: Figures, name: str) -> str:
    """A figure, of whichever extractor has it; a dash where none has."""
    spread = next((found for key, found in figures.items() if key.partition("@")[0] == name), Spread(()))
    deviation = "" if spread.std != spread.std else f" ± {number(spread.std)}"
    return f"{number(spread.mean)}{deviation}"


def rehearsal(folder: Path) -> tuple[list[str], list[str]]:
    """What a dry run is made on: a pipeline of Stable Diffusion's architecture and a CLIP, random and tiny.

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
