"""The contact sheet of a comparison: methods by prompts, one image each with its path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from ..compare.methods import DDIM
from ..compare.results import Rows
from ..compare.runs import PlannedRun
from ..measure.images import Run, eight_bits, read_pixels, read_records
from ..style import new_figure
from .page import png_url

if TYPE_CHECKING:
    from ..compare.image import ImageComparison


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

    def html(self) -> Markup:
        """As an HTML table, a row a prompt; a click on an image opens its path."""
        head = Markup("<th></th>") + Markup("").join(
            Markup("<th>{}</th>").format(label) for label in self.labels
        )
        rows = Markup("\n").join(
            Markup("<tr><th>{}</th>{}</tr>").format(prompt, Markup("").join(map(_html, pictures)))
            for prompt, pictures in self.rows.items()
        )
        return Markup('<div class="scroll"><table class="sheet">\n<tr>{}</tr>\n{}\n</table></div>').format(
            head, rows
        )


def _html(picture: Picture | None) -> Markup:
    if picture is None:
        return Markup("<td>–</td>")
    image = Markup('<img src="{}" alt="{}">').format(png_url(picture.image), picture.title)
    if picture.path is None:
        return Markup("<td>{}</td>").format(image)
    button = (
        '<td><button type="button" data-path="{}" data-title="{}" aria-label="path of {}">{}</button></td>'
    )
    return Markup(button).format(png_url(picture.path, 2), picture.title, picture.title, image)


def contact_sheet(comparison: ImageComparison, rows: Rows) -> Sheet:
    """The first particle of the first seed of every method on every prompt, and DDIM's."""
    methods = [method for method in comparison.methods if method.label in rows]
    sampled = {
        record.prompt: record.path
        for record in read_records(comparison.out / "ddim")
        if (record.seed, record.particle) == (comparison.first_seed, 0)
    }
    shown = {}
    for prompt in comparison.prompts:
        runs = [
            comparison.planned(method, prompt, comparison.first_seed, rows[method.label].steps)
            for method in methods
        ]
        ddim = Picture(f"{DDIM}: {prompt}", read_pixels(sampled[prompt]))
        shown[prompt] = (*(_picture(run) if run.finished else None for run in runs), ddim)
    return Sheet((*(method.label for method in methods), DDIM), shown)


def _picture(planned: PlannedRun) -> Picture:
    run = Run(planned.folder)
    path = np.concatenate([eight_bits(frame.images()[0]) for frame in run.frames()], 1)
    return Picture(f"{planned.method.label}: {planned.prompt}", read_pixels(run.records()[0].path), path)


def draw_sheet(sheet: Sheet) -> Figure:
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
