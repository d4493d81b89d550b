"""The report of a comparison: one HTML page that holds its pictures, tables and curves, and needs nothing else."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from ..files import save_text, write_whole
from .compare import DDIM, Comparison, convergence
from .images import Run, read_records

TEMPLATE = Path(__file__).resolve().parent.parent / "assets" / "report.html.j2"
LABELS = {"ddim": "DDIM images", "truth": "true renders"}
COLOURS = ("#2a9d4a", "#d1495b", "#3d7dca", "#b07d12", "#8f5bc4", "#3f9c9c", "#b8559a", "#7a7a7a")


@dataclass(frozen=True)
class Column:
    """A column of the tables: which figure, its heading, and whether less is better (None: neither is)."""

    figure: str
    label: str
    less_is_better: bool | None = None

    @property
    def arrow(self) -> str:
        """Where better is."""
        return {True: "↓", False: "↑", None: ""}[self.less_is_better]


def columns(figures: Mapping[str, object]) -> list[Column]:
    """The columns that a comparison's figures call for."""
    known = [
        *(Column(f"frechet_{name}", f"Fréchet to {label}", True) for name, label in LABELS.items()),
        *(Column(f"kernel_{name}", f"KID to {label}", True) for name, label in LABELS.items()),
        Column("alignment", "alignment", False),
        Column("clip_similarity", "CLIP similarity", False),
        Column("object", "right object", False),
        Column("colour", "right colour", False),
        *(Column(f"precision_{name}", f"precision ({label})", False) for name, label in LABELS.items()),
        *(Column(f"recall_{name}", f"recall ({label})", False) for name, label in LABELS.items()),
        Column("saturation", "saturation"),
        Column("sharpness", "sharpness"),
        Column("diversity", "diversity"),
    ]
    return [column for column in known if column.figure in figures]


def number(value: float | None) -> str:
    """Three digits, or a dash where there is none.

    >>> number(0.12345), number(12345.6), number(None)
    ('0.123', '12300', '–')
    """
    if value is None or math.isnan(value):
        return "–"
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{round(value, 2 - math.floor(math.log10(abs(value)))):.{min(digits, 6)}f}"


def table_rows(
    table: Mapping[str, Mapping[str, object]], ddim: Mapping[str, object], shown: Sequence[Column]
) -> list[dict[str, object]]:
    """The rows of a budget's table, DDIM last, the best method of each column marked."""
    best = {}
    for column in shown:
        if column.less_is_better is not None and table:
            choose = min if column.less_is_better else max
            best[column.figure] = choose(
                table, key=lambda label: table[label]["figures"][column.figure]["mean"]
            )

    def cells(label: str, figures: Mapping[str, Mapping[str, float]]) -> list[dict[str, object]]:
        return [
            {
                "mean": number(figures[column.figure]["mean"]),
                "std": number(figures[column.figure]["std"]),
                "best": best.get(column.figure) == label,
            }
            for column in shown
        ]

    rows = [
        {"label": label, **row, "calls": round(row["calls"]), "cells": cells(label, row["figures"])}
        for label, row in table.items()
    ]
    return [*rows, {"label": DDIM, "steps": "–", "calls": "–", "cells": cells(DDIM, ddim)}]


def convergence_lines(table: Mapping[str, Mapping[str, object]], ours: str) -> list[str]:
    """How soon our method reaches the best other's final Fréchet distance, one sentence a reference."""
    lines = []
    for name, label in LABELS.items():
        figure = f"frechet_{name}"
        if not table or figure not in next(iter(table.values()))["figures"]:
            continue
        found = convergence(table, ours, figure)
        if found is None:
            continue
        best = f"the best other method's Fréchet distance to {label} ({found['method']}, {number(found['level'])})"
        if found["reached"] is None:
            lines.append(f"{ours} does not reach {best} within its budget.")
        else:
            lines.append(
                f"{ours} reaches {best} after {found['reached']:.0f} network calls, "
                f"{number(found['ratio'])} of the {found['calls']:.0f} which that method spent."
            )
    return lines


def curves_svg(table: Mapping[str, Mapping[str, object]]) -> str:
    """Fréchet distance against steps and against calls, as SVG that reads on light and on dark ground."""
    from matplotlib.figure import Figure

    figures = [
        f"frechet_{name}"
        for name in LABELS
        if table and f"frechet_{name}" in next(iter(table.values()))["curves"][0]
    ]
    figure = Figure(figsize=(10, 3.4 * max(len(figures), 1)), facecolor="none")
    axes = figure.subplots(max(len(figures), 1), 2, squeeze=False)
    for row, name in enumerate(figures):
        for column, (against, label) in enumerate(
            (("step", "optimiser steps"), ("calls", "network calls per image"))
        ):
            _draw_curves(axes[row, column], table, name, against)
            axes[row, column].set(
                xlabel=label, ylabel=f"Fréchet distance to {LABELS[name.removeprefix('frechet_')]}"
            )
    if figures:
        axes[0, 0].legend(frameon=False, labelcolor="#808890", fontsize=8)
    figure.tight_layout()
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True)
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :]


def _draw_curves(axes: object, table: Mapping[str, Mapping[str, object]], name: str, against: str) -> None:
    for colour, (label, row) in zip(COLOURS * len(table), table.items(), strict=False):
        x = np.array([point[against] for point in row["curves"]])
        mean = np.array([point[name]["mean"] for point in row["curves"]])
        std = np.array([point[name]["std"] or 0.0 for point in row["curves"]])
        axes.plot(x, mean, color=colour, label=label, marker="o", markersize=3)
        axes.fill_between(
            x, np.maximum(mean - std, mean.min() / 10), mean + std, color=colour, alpha=0.15, linewidth=0
        )
    axes.set_yscale("log")
    axes.tick_params(colors="#808890", which="both", labelsize=8)
    axes.xaxis.label.set(color="#808890", fontsize=8)
    axes.yaxis.label.set(color="#808890", fontsize=8)
    axes.patch.set_alpha(0)
    for spine in axes.spines.values():
        spine.set_color("#808890")


def png(image: np.ndarray) -> str:
    """An 8-bit image `[H, W, 3]` as a `data:` URL."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _eight_bits(images: object) -> np.ndarray:
    return (np.asarray(images) * 255).round().astype(np.uint8)


def contact_sheet(comparison: Comparison, table: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    """Methods by prompts: the first particle of the first seed, with its path."""
    methods = [method for method in comparison.methods if method.label in table]
    sampled = {
        record.prompt: record
        for record in read_records(comparison.out / "ddim")
        if record.seed == 0 and record.particle == 0
    }
    rows = []
    for prompt in comparison.prompts:
        images: list[dict[str, str] | None] = []
        for method in methods:
            cell = comparison.cell(method, prompt, 0, int(table[method.label]["steps"]))
            images.append(_with_path(cell.folder, f"{method.label}: {prompt}") if cell.finished else None)
        ddim = np.asarray(Image.open(sampled[prompt].path).convert("RGB"))
        images.append({"src": png(ddim), "path": "", "title": f"{DDIM}: {prompt}"})
        rows.append({"prompt": prompt, "images": images})
    return {"methods": [*(method.label for method in methods), DDIM], "rows": rows}


def write_sheets(comparison: Comparison, results: Mapping[str, object]) -> list[Path]:
    """Write `sheet-BUDGET.png` for every budget, methods down and prompts across: the images of the page's contact sheet."""
    paths = []
    for name, table in results["budgets"].items():
        path = comparison.out / f"sheet-{name.replace('=', '-')}.png"
        drawn = _sheet_figure(contact_sheet(comparison, table))
        write_whole(path, partial(drawn.savefig, dpi=100))
        paths.append(path)
    return paths


def _sheet_figure(sheet: Mapping[str, object]) -> object:
    from matplotlib.figure import Figure

    methods, rows = sheet["methods"], sheet["rows"]
    figure = Figure(figsize=(0.8 * len(rows) + 0.7, 0.8 * len(methods) + 0.3), facecolor="white")
    axes = figure.subplots(len(methods), len(rows), squeeze=False)
    for column, row in enumerate(rows):
        axes[0, column].set_title(row["prompt"].removeprefix("a ").removeprefix("an "), fontsize=7, pad=3)
        for line, (method, image) in enumerate(zip(methods, row["images"], strict=True)):
            cell = axes[line, column]
            cell.set(xticks=[], yticks=[])
            if image is not None:
                cell.imshow(_from_png(image["src"]))
            if column == 0:
                cell.set_ylabel(method, fontsize=9, rotation=0, ha="right", va="center")
    figure.subplots_adjust(
        left=0.7 / figure.get_figwidth(), right=0.995, top=1 - 0.25 / figure.get_figheight(), bottom=0.01
    )
    figure.subplots_adjust(wspace=0.04, hspace=0.04)
    return figure


def _from_png(url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))


def _with_path(folder: Path, title: str) -> dict[str, str]:
    run = Run(folder)
    strip = np.concatenate([_eight_bits(frame.images[0]) for frame in run.frames()], 1)
    final = np.asarray(Image.open(run.records()[0].path).convert("RGB"))
    return {"src": png(final), "path": png(strip.repeat(2, 0).repeat(2, 1)), "title": title}


def write_report(comparison: Comparison, results: Mapping[str, object], title: str, ours: str) -> Path:
    """Write `index.html` into the comparison's folder.

    Args:
        comparison: What was compared.
        results: What `compare` returned.
        title: Heading of the page.
        ours: The method whose convergence is told.

    Returns:
        Its path.
    """
    from jinja2 import Environment

    shown = columns(results["ddim"])
    budgets = []
    for name, table in results["budgets"].items():
        kind, _, amount = name.partition("=")
        budgets.append(
            {
                "kind": {"steps": "optimiser steps", "calls": "network calls"}[kind],
                "amount": amount,
                "rows": table_rows(table, results["ddim"], shown),
                "convergence": convergence_lines(table, ours),
                "curves": curves_svg(table),
                "sheet": contact_sheet(comparison, table),
            }
        )
    template = Environment(autoescape=True, trim_blocks=True).from_string(
        TEMPLATE.read_text(encoding="utf-8")
    )
    path = comparison.out / "index.html"
    page = template.render(
        title=title,
        about=results["about"],
        particles=comparison.particles,
        failed=results["failed"],
        labels=LABELS,
        columns=shown,
        budgets=budgets,
    )
    save_text(page, path)
    return path


def markdown(results: Mapping[str, object], figures: Sequence[str], ours: str) -> str:
    """The tables as Markdown: chosen figures only, mean ± standard deviation; under each how soon `ours` converges."""
    shown = [column for column in columns(results["ddim"]) if column.figure in figures]
    blocks = []
    for name, table in results["budgets"].items():
        heading = [
            "method",
            "steps",
            "calls",
            *(f"{column.label} {column.arrow}".strip() for column in shown),
        ]
        lines = [f"`{name}`", "", "| " + " | ".join(heading) + " |", "|" + "---|" * len(heading)]
        for row in table_rows(table, results["ddim"], shown):
            values = [
                f"**{c['mean']}** ± {c['std']}" if c["best"] else f"{c['mean']} ± {c['std']}"
                for c in row["cells"]
            ]
            lines.append(
                "| " + " | ".join([str(row["label"]), str(row["steps"]), str(row["calls"]), *values]) + " |"
            )
        blocks.append("\n".join([*lines, *(f"\n{line}" for line in convergence_lines(table, ours))]))
    return "\n\n".join(blocks) + "\n"
