"""The report of a comparison of images: its page, its tables and its contact sheets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from threestudio_msd.files import save_text, write_whole

from ..compare.costs import KINDS
from ..compare.methods import DDIM
from ..compare.results import Figures, Point, Results, Row, Rows
from ..style import GREY, as_svg, colour_of, frame_in_grey, new_figure
from .page import Section, figure, folded, paragraph, write_page
from .sheet import contact_sheet, draw_sheet
from .table import Spread
from .tables import LABELS, against_ddim, columns, markdown, relative_rows, sentences, table

if TYPE_CHECKING:
    from ..compare.image import ImageComparison

AXES = {"steps": "optimiser steps", "nfe": "network function evaluations an image", "flop": "FLOP an image"}
COSTS = (
    "Steps are the optimiser's. NFE are network function evaluations spent on one image, every "
    "guidance branch counted, backward passes not; GFLOP are all operations spent on it, backward "
    "passes, encoder and decoder too; seconds are a whole run's, on this machine. The best of the "
    "distillation methods is marked. DDIM samples the prior without distillation."
)
RELATIVE = (
    "Change of the images' mean saturation and contrast, as a part of DDIM's; diversity and recall "
    "as parts of DDIM's; and the Fréchet distance above DDIM's, in units of the first method's; a "
    "dash where that is not above DDIM's."
)


def write_report(comparison: ImageComparison, results: Results) -> Path:
    """Write `index.html`, `tables.md` and `sheet-BUDGET.png` into the comparison's folder.

    The first method is the one whose convergence is reported.

    Returns:
        The page's path.
    """
    ours, sections, commands = comparison.methods[0].label, [], []
    for budget, rows in results.budgets.items():
        sheet = contact_sheet(comparison, rows)
        picture = comparison.out / f"sheet-{budget.replace('=', '-')}.png"
        write_whole(picture, partial(draw_sheet(sheet).savefig, dpi=100))
        kind, _, amount = budget.partition("=")
        images = f"Seed {results.about.seeds[0]}, first particle. Select an image to see its path."
        shown = [paragraph(images, "faint"), sheet.html()]
        blocks = [*_tables(rows, results, ours), *_drawings(rows, results.ddim), Markup("<h3>Images</h3>")]
        sections.append(Section(f"At equal {KINDS[kind]}: {amount}", [*blocks, *shown]))
        commands += [
            folded(f"{label} at {budget} ({row.finished} of {row.asked} runs)", row.command, row.config)
            for label, row in rows.items()
        ]
    save_text(markdown(results, ours), comparison.out / "tables.md")
    sections = [
        Section("", _about(comparison, results)),
        *sections,
        Section("Commands and configurations", commands),
    ]
    return write_page(comparison.out / "index.html", comparison.title, sections)


def _about(comparison: ImageComparison, results: Results) -> list[Markup]:
    about = results.about
    counts = ", ".join(f"{count} {LABELS.get(name, name)}" for name, count in about.references.items())
    each = f"each measured on its own {about.images_per_seed} images"
    spread = f"± is the standard deviation (n − 1) over {len(about.seeds)} seeds, {each}. "
    text = (
        f"{len(about.prompts)} prompts, seeds {', '.join(map(str, about.seeds))}, "
        f"{comparison.particles} images a run. Features: {about.features}. Precision and recall: "
        f"{about.precision_recall}. {spread if len(about.seeds) > 1 else ''}"
        f"References: {counts}. DDIM: {about.sampling}."
    )
    blocks = [paragraph(text, "faint")]
    if results.failed:
        blocks.append(paragraph(f"{len(results.failed)} runs failed and are missing below:", "failed"))
        blocks += [paragraph(f"{one.run}: {one.error}") for one in results.failed]
    return blocks


def _tables(rows: Rows, results: Results, ours: str) -> list[Markup]:
    absolute = table(rows, results.ddim, columns(results.ddim), truth=results.truth).html()
    relative = against_ddim(rows, results.ddim, ours).html()
    title = Markup("<h3>Against DDIM's images</h3>")
    blocks = [absolute, paragraph(COSTS, "faint"), title, relative, paragraph(RELATIVE, "faint")]
    return blocks + [paragraph(line) for line in sentences(rows, results.ddim, ours)]


def _drawings(rows: Rows, ddim: Figures) -> list[Markup]:
    captions = {
        "Fréchet distance along the path, mean and standard deviation over seeds.": curves_svg(rows),
        "Fidelity over diversity, a line a knob.": frontier_svg(rows, ddim),
    }
    return [figure(svg, caption) for caption, svg in captions.items() if svg]


def curves_svg(rows: Rows) -> str:
    """Fréchet distance against steps, evaluations and operations, as SVG for light and for dark ground.

    Empty where no distance along the path is known.
    """
    known = {
        name
        for row in rows.values()
        for point in row.curve
        for name, spread in point.figures.items()
        if np.isfinite(spread.mean)
    }
    names = [name for name in LABELS if f"frechet_{name}" in known]
    if not names:
        return ""
    drawing = new_figure(13, 3.4 * len(names))
    axes = drawing.subplots(len(names), len(AXES), squeeze=False)
    for own, name in zip(axes, names, strict=True):
        for place, against in zip(own, AXES, strict=True):
            _draw_curves(place, rows, f"frechet_{name}", against)
        own[0].set_ylabel(f"Fréchet distance to {LABELS[name]}", color=GREY, fontsize=8)
    axes[0, 0].legend(frameon=False, labelcolor=GREY, fontsize=8)
    drawing.tight_layout()
    return as_svg(drawing)


def _spent(row: Row, point: Point, against: str) -> float:
    return {"steps": point.step, "nfe": point.nfe, "flop": row.flop * point.step / row.taken}[against]


def _draw_curves(axes: Axes, rows: Rows, name: str, against: str) -> None:
    for i, (label, row) in enumerate(rows.items()):
        points = [point for point in row.curve if name in point.figures]
        x = [_spent(row, point, against) for point in points]
        draw_band(axes, label, i, x, [point.figures[name] for point in points], relative_floor=0.1)
    axes.set_yscale("log")
    frame_in_grey(axes, AXES[against])


def draw_band(
    axes: Axes,
    label: str,
    place: int,
    x: Sequence[float],
    spreads: Sequence[Spread],
    relative_floor: float | None = None,
) -> None:
    """Draw means as a line in a band of their deviations; a single seed has no band.

    Args:
        axes: Where.
        label: The row's.
        place: Its place among the rows, for its colour.
        x: Abscissae.
        spreads: As many.
        relative_floor: Least of the band in parts of the mean, for a logarithmic axis.
    """
    colour = colour_of(label, place)
    mean, std = np.array([one.mean for one in spreads]), np.array([one.std for one in spreads])
    axes.plot(x, mean, color=colour, label=label, marker="o", markersize=3)
    low = mean - std if relative_floor is None else np.maximum(mean - std, mean * relative_floor)
    axes.fill_between(x, low, mean + std, color=colour, alpha=0.15, linewidth=0)


KNOB = " at "
"""In a label, what stands between a knob and its value."""


def frontier_svg(rows: Rows, ddim: Figures) -> str:
    """Fréchet distance over diversity as a part of DDIM's: a point a row, a line a knob.

    Empty where no row's label is that of a knob, "KNOB at VALUE".
    """
    relative, floor = relative_rows(rows, ddim, "")
    knobs: dict[str, dict[str, tuple[float, float]]] = {}
    for label, row in rows.items():
        if {"frechet_ddim", "diversity"} <= row.figures.keys():
            knob, _, value = label.partition(KNOB)
            point = relative[label].figures["diversity"].mean, row.figures["frechet_ddim"].mean
            knobs.setdefault(knob, {})[value] = point
    if not any(value for points in knobs.values() for value in points):
        return ""
    drawing = new_figure(6.5, 4.2)
    axes = drawing.subplots()
    for i, (knob, points) in enumerate(knobs.items()):
        _draw_knob(axes, knob, points, colour_of(knob, i))
    if {"frechet_ddim", "diversity"} <= ddim.keys():
        at = floor["diversity"].mean, ddim["frechet_ddim"].mean
        axes.plot(*at, "x", color=colour_of(DDIM, 0), label=DDIM)
    axes.set_ylabel("Fréchet distance to DDIM images", color=GREY, fontsize=8)
    axes.legend(frameon=False, labelcolor=GREY, fontsize=8)
    frame_in_grey(axes, "diversity, as a part of DDIM's")
    drawing.tight_layout()
    return as_svg(drawing)


def _draw_knob(axes: Axes, knob: str, points: Mapping[str, tuple[float, float]], colour: str) -> None:
    axes.plot(*zip(*points.values(), strict=True), color=colour, marker="o", markersize=4, label=knob)
    for value, point in points.items():
        axes.annotate(value, point, (4, 4), textcoords="offset points", color=GREY, fontsize=8)
