"""Results on the console, as JSON, as Markdown, and on one HTML page."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from threestudio_msd.files import save_text

from ..report import page
from ..report.table import Entry, Table
from .experiment import Measurement, Results
from .gradients import OVER_THE_VIEW

SMALLER_IS_BETTER = ("nll", "mmd")
NAMES = {"nll": "NLL (nats)", "mmd": "MMD² × 1000", "modes": "share of modes found"}
INFINITE = {"efficiency": "∞ (deterministic)", "oracle efficiency": "∞ (exact)"}
TITLE = "Mean-shift distillation on the 2D toys"
INTRODUCTION = (
    "A grid of points is moved by each method's gradient. The densities are known exactly, so that the final "
    "points, and every gradient on the way, are measured against the truth."
)
FIGURES = (
    "Figures are mean ± standard deviation over the seeds; the paper's figure, where it has one, is in "
    "brackets, and for MSD it is green where ours is at least as good, red where it is not."
)


def tables(measurements: Iterable[Measurement]) -> list[Table]:
    """One table a metric; a value after "at" in a metric's name becomes a column."""
    by_metric: dict[str, list[Measurement]] = {}
    for measurement in measurements:
        by_metric.setdefault(measurement.metric.partition(" at ")[0], []).append(measurement)
    return [_table(NAMES.get(metric, metric), group) for metric, group in by_metric.items()]


def _table(caption: str, measurements: Sequence[Measurement]) -> Table:
    columns = dict.fromkeys(map(_column, measurements))
    rows: dict[str, dict[str, object]] = {}
    for m in measurements:
        row = rows.setdefault(m.method, dict.fromkeys(["method", "NFE", *columns], ""))
        row |= {"method": m.method, "NFE": m.nfe, _column(m): entry(m)}
    shown = [list(row.values()) for row in rows.values()]
    return Table(["method", "NFE", *columns], shown, caption, marked=("MSD",))


def _column(measurement: Measurement) -> str:
    at = measurement.metric.partition(" at ")[2]
    named = at if "=" in at or not at else f"λ = {at}"
    return ", ".join(filter(None, (str(measurement.problem), named)))


def entry(m: Measurement) -> Entry:
    """Mean, deviation and the paper's figure; for MSD marked whether ours is as good."""
    factor = 1000 if m.metric == "mmd" else 1
    style = ".3f" if abs(m.mean) * factor < 1 else ".2f"
    text = f"{m.mean * factor:{style}}" + ("" if m.std is None else f" ± {m.std * factor:{style}}")
    if not math.isfinite(m.mean):
        deterministic = INFINITE.get(m.metric.removesuffix(OVER_THE_VIEW), "∞")
        text = deterministic if m.mean > 0 else "−∞ (no signal)"
    if m.paper is None:
        return Entry(text)
    sign = -1 if m.metric in SMALLER_IS_BETTER else 1
    mark = "good" if sign * m.mean >= sign * m.paper else "bad"
    return Entry(text, f"({m.paper:.2f})", mark if m.method == "MSD" else "")


def show(results: Results, console: Console) -> None:
    """Print the tables and the paths of the pictures."""
    console.rule(results.experiment.title)
    for table in tables(results.measurements):
        console.print(table.console())
    for file, caption in results.pictures:
        console.print(f"{caption}\n  {file}", highlight=False)


def write_json(measurements: Sequence[Measurement], file: Path) -> None:
    """One object a measurement; an infinite mean is the string "inf" or "-inf"."""
    rows = [
        asdict(m.problem)
        | {key: value for key, value in asdict(m).items() if key != "problem"}
        | ({} if math.isfinite(m.mean) else {"mean": str(m.mean)})
        for m in measurements
    ]
    save_text(json.dumps(rows, indent=1, allow_nan=False) + "\n", file)


def write_markdown(experiments: Sequence[Results], command: str, file: Path) -> None:
    """Every table as Markdown, under the command that made it."""
    made = f"Made by `{command}`. Mean ± standard deviation over the seeds; the paper's figure in brackets."
    shown = [
        f"\n**{found.experiment.title}: {table.caption}**\n\n{table.markdown()}\n"
        for found in experiments
        for table in tables(found.measurements)
    ]
    save_text("".join([f"{made}\n", *shown]), file)


def write_page(experiments: Sequence[Results], seeds: int, command: str, file: Path) -> None:
    """One self-contained HTML page: tables as HTML, pictures inline."""
    made = f"Made by {command}; {seeds} seed{'s' if seeds != 1 else ''}. {FIGURES}"
    parts = [page.Section("", [page.paragraph(INTRODUCTION), page.paragraph(made, "faint")])]
    for found in experiments:
        pictures = [page.figure(page.picture(page.data_url(f), text), text) for f, text in found.pictures]
        shown = [table.html() for table in tables(found.measurements)]
        blocks = [page.paragraph(found.text), *pictures, *shown]
        parts.append(page.Section(found.experiment.title, blocks, found.experiment.name))
    page.write_page(file, TITLE, parts)
