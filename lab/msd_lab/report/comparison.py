"""The report of a comparison: one HTML page that holds its pictures, tables and curves, alone."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from PIL import Image
from threestudio_msd.files import save_text, write_whole

from ..assets import ASSETS
from ..compare.comparison import Comparison
from ..compare.costs import KINDS
from ..compare.grid import DDIM
from ..compare.results import Figures, Point, Results, Row, Table
from ..style import GREY, as_svg, colour_of, frame_in_grey, new_figure
from .sheet import Sheet, contact_sheet, draw_sheet
from .tables import LABELS, SPENT, against_ddim, columns, markdown, sentences, table_rows

TEMPLATE = ASSETS / "report.html.j2"
AXES = {"steps": "optimiser steps", "nfe": "network function evaluations an image", "flop": "FLOP an image"}


def write_report(comparison: Comparison, results: Results, title: str, ours: str) -> Path:
    """Write `index.html`, `tables.md` and `sheet-BUDGET.png` into the comparison's folder.

    Args:
        comparison: What was compared.
        results: What `compare` returned.
        title: Heading of the page.
        ours: The method whose convergence is told.

    Returns:
        The page's path.
    """
    sheets = {budget: contact_sheet(comparison, table) for budget, table in results.budgets.items()}
    for budget, sheet in sheets.items():
        picture = comparison.out / f"sheet-{budget.replace('=', '-')}.png"
        write_whole(picture, partial(draw_sheet(sheet).savefig, dpi=100))
    save_text(markdown(results, ours), comparison.out / "tables.md")
    path = comparison.out / "index.html"
    save_text(page(results, sheets, comparison.particles, title, ours), path)
    return path


def page(results: Results, sheets: Mapping[str, Sheet], particles: int, title: str, ours: str) -> str:
    """The report as HTML."""
    from jinja2 import Environment

    shown = columns(results.ddim)
    budgets = []
    for name, table in results.budgets.items():
        kind, _, amount = name.partition("=")
        against, floor, relative = against_ddim(table, results.ddim, ours)
        budgets.append(
            {
                "kind": KINDS[kind],
                "amount": amount,
                "table": table,
                "rows": table_rows(table, results.ddim, shown),
                "relative": (table_rows(against, floor, relative), relative),
                "convergence": sentences(table, results.ddim, ours),
                "curves": curves_svg(table),
                "frontier": frontier_svg(table, results.ddim),
                "sheet": sheets[name],
            }
        )
    environment = Environment(autoescape=True, trim_blocks=True)
    environment.filters["png"] = png
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        title=title,
        results=results,
        particles=particles,
        labels=LABELS,
        columns=shown,
        spent=SPENT,
        budgets=budgets,
    )


def png(image: np.ndarray, factor: int = 1) -> str:
    """An 8-bit image `[H, W, 3]`, every pixel repeated, as a `data:` URL."""
    buffer = io.BytesIO()
    Image.fromarray(image.repeat(factor, 0).repeat(factor, 1)).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def curves_svg(table: Table) -> str:
    """Fréchet distance against steps, evaluations and operations, as SVG for light and for dark ground."""
    known = {name for row in table.values() for point in row.curve for name in point.figures}
    names = [name for name in LABELS if f"frechet_{name}" in known]
    if not names:
        return ""
    figure = new_figure(13, 3.4 * len(names))
    axes = figure.subplots(len(names), len(AXES), squeeze=False)
    for row, name in enumerate(names):
        for column, against in enumerate(AXES):
            _draw_curves(axes[row, column], table, f"frechet_{name}", against)
        axes[row, 0].set_ylabel(f"Fréchet distance to {LABELS[name]}", color=GREY, fontsize=8)
    axes[0, 0].legend(frameon=False, labelcolor=GREY, fontsize=8)
    figure.tight_layout()
    return as_svg(figure)


def _spent(row: Row, point: Point, against: str) -> float:
    """What a row had spent at a point of its curve."""
    return {"steps": point.step, "nfe": point.nfe, "flop": row.flop * point.step / row.taken}[against]


def _draw_curves(axes: Axes, table: Table, figure: str, against: str) -> None:
    for i, (label, row) in enumerate(table.items()):
        colour = colour_of(label, i)
        points = [point for point in row.curve if figure in point.figures]
        x = np.array([_spent(row, point, against) for point in points])
        mean = np.array([point.figures[figure].mean for point in points])
        std = np.array([point.figures[figure].std for point in points])  # NaN of a single seed: no band
        axes.plot(x, mean, color=colour, label=label, marker="o", markersize=3)
        low = np.maximum(mean - std, mean / 10)  # the axis is logarithmic
        axes.fill_between(x, low, mean + std, color=colour, alpha=0.15, linewidth=0)
    axes.set_yscale("log")
    frame_in_grey(axes, AXES[against])


KNOB = " at "
"""In a label, what stands between a knob and its value."""


def frontier_svg(table: Table, ddim: Figures) -> str:
    """Fréchet distance over diversity as a part of DDIM's: a point a row, a line a knob.

    Empty where no row's label is that of a knob, "KNOB at VALUE".
    """
    rows, floor, _ = against_ddim(table, ddim, "")
    knobs: dict[str, list[str]] = {}
    for label in table:
        if {"frechet_ddim", "diversity"} <= table[label].figures.keys():
            knobs.setdefault(label.partition(KNOB)[0], []).append(label)
    if not any(KNOB in label for labels in knobs.values() for label in labels):
        return ""
    figure = new_figure(6.5, 4.2)
    axes = figure.subplots()
    for i, (knob, labels) in enumerate(knobs.items()):
        points = {
            label.partition(KNOB)[2]: (
                rows[label].figures["diversity"].mean,
                table[label].figures["frechet_ddim"].mean,
            )
            for label in labels
        }
        _draw_knob(axes, knob, points, colour_of(knob, i))
    if {"frechet_ddim", "diversity"} <= ddim.keys():
        at = floor["diversity"].mean, ddim["frechet_ddim"].mean
        axes.plot(*at, "x", color=colour_of(DDIM, 0), label=DDIM)
    axes.set_ylabel("Fréchet distance to DDIM images", color=GREY, fontsize=8)
    axes.legend(frameon=False, labelcolor=GREY, fontsize=8)
    frame_in_grey(axes, "diversity, as a part of DDIM's")
    figure.tight_layout()
    return as_svg(figure)


def _draw_knob(axes: Axes, knob: str, points: Mapping[str, tuple[float, float]], colour: str) -> None:
    axes.plot(*zip(*points.values(), strict=True), color=colour, marker="o", markersize=4, label=knob)
    for value, point in points.items():
        axes.annotate(value, point, (4, 4), textcoords="offset points", color=GREY, fontsize=8)
