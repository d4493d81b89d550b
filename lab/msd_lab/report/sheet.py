"""The contact sheet of a comparison: methods by prompts, one image each with its path."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from ..compare.comparison import Comparison
from ..compare.grid import DDIM, Cell
from ..compare.results import Table
from ..measure.images import Run, eight_bits, read_pixels, read_records
from ..style import new_figure


@dataclass(frozen=True)
class Picture:
    """An image and its path, frames side by side, both `[H, W, 3]`, 8 bits; DDIM images have no path."""

    title: str
    image: np.ndarray
    path: np.ndarray | None = None


@dataclass(frozen=True)
class Sheet:
    """Pictures of every prompt, in the order of the labels; None where a run failed."""

    labels: tuple[str, ...]
    rows: dict[str, tuple[Picture | None, ...]]


def contact_sheet(comparison: Comparison, table: Table) -> Sheet:
    """The first particle of the first seed of every method on every prompt, and DDIM's."""
    methods = [method for method in comparison.methods if method.label in table]
    sampled = {
        record.prompt: record.path
        for record in read_records(comparison.out / "ddim")
        if (record.seed, record.particle) == (comparison.first_seed, 0)
    }
    rows = {}
    for prompt in comparison.prompts:
        cells = [
            comparison.cell(method, prompt, comparison.first_seed, table[method.label].steps)
            for method in methods
        ]
        ddim = Picture(f"{DDIM}: {prompt}", read_pixels(sampled[prompt]))
        rows[prompt] = (*(_picture(cell) if cell.finished else None for cell in cells), ddim)
    return Sheet((*(method.label for method in methods), DDIM), rows)


def _picture(cell: Cell) -> Picture:
    run = Run(cell.folder)
    path = np.concatenate([eight_bits(frame.images()[0]) for frame in run.frames()], 1)
    return Picture(f"{cell.method.label}: {cell.prompt}", read_pixels(run.records()[0].path), path)


def draw_sheet(sheet: Sheet) -> Figure:
    """Methods down and prompts across."""
    margin = max(0.7, 0.08 * max(map(len, sheet.labels)))  # inches
    figure = new_figure(0.8 * len(sheet.rows) + margin, 0.8 * len(sheet.labels) + 0.3)
    axes = figure.subplots(len(sheet.labels), len(sheet.rows), squeeze=False)
    for column, (prompt, pictures) in enumerate(sheet.rows.items()):
        heading = prompt.removeprefix("a ").removeprefix("an ")
        axes[0, column].set_title(heading, fontsize=7, pad=3, parse_math=False)
        for row, picture in enumerate(pictures):
            axes[row, column].set(xticks=[], yticks=[])
            if picture is not None:
                axes[row, column].imshow(picture.image)
    for row, label in enumerate(sheet.labels):
        axes[row, 0].set_ylabel(label, fontsize=9, rotation=0, ha="right", va="center", parse_math=False)
    left, top = margin / figure.get_figwidth(), 1 - 0.25 / figure.get_figheight()
    figure.subplots_adjust(left=left, right=0.995, top=top, bottom=0.01, wspace=0.04, hspace=0.04)
    return figure
