"""Tables and pictures as one HTML page, as JSON, and on the console."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import jinja2
from rich.console import Console
from rich.table import Table
from threestudio_msd.files import save_text

from ..markdown import markdown_table
from .efficiency import OVER_THE_VIEW
from .measurement import Measurement

SMALLER_IS_BETTER = {"nll", "mmd"}
NAMES = {"nll": "NLL (nats)", "mmd": "MMD² × 1000", "modes": "share of modes found"}
INFINITE = {"efficiency": "∞ (deterministic)", "oracle efficiency": "∞ (exact)"}
KINDS = {".png": "image/png", ".gif": "image/gif", ".mp4": "video/mp4"}


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        name: The command that makes it.
        title: Heading.
        text: What it shows, in a few sentences; docs/notebook/toy.md draws conclusions.
        measurements: Its figures, if any.
        pictures: Files of pictures and animations, each with its caption.
    """

    name: str
    title: str
    text: str
    measurements: list[Measurement] = field(default_factory=list)
    pictures: list[tuple[Path, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Entry:
    """One figure as a table shows it: its text, the paper's, and whether ours is at least as good."""

    text: str
    paper: str = ""
    beaten: bool | None = None


@dataclass(frozen=True)
class Grid:
    """A table of one metric: a column a problem, a row a method."""

    metric: str
    columns: list[str]
    rows: list[tuple[str, str, list[Entry]]]


def grids(measurements: Iterable[Measurement]) -> list[Grid]:
    """One table a metric; what follows "at" in a metric's name becomes a column."""
    by_metric: dict[str, list[Measurement]] = {}
    for measurement in measurements:
        by_metric.setdefault(measurement.metric.partition(" at ")[0], []).append(measurement)
    return [_grid(metric, group) for metric, group in by_metric.items()]


def _grid(metric: str, measurements: Sequence[Measurement]) -> Grid:
    columns = list(dict.fromkeys(map(_column, measurements)))
    entries: dict[str, dict[str, Entry]] = {}
    nfe: dict[str, str] = {}
    for measurement in measurements:
        entries.setdefault(measurement.method, {})[_column(measurement)] = entry(measurement)
        nfe[measurement.method] = str(measurement.nfe)
    rows = [
        (method, nfe[method], [row.get(column, Entry("")) for column in columns])
        for method, row in entries.items()
    ]
    return Grid(NAMES.get(metric, metric), columns, rows)


def _column(measurement: Measurement) -> str:
    at = measurement.metric.partition(" at ")[2]
    named = at if "=" in at or not at else f"λ = {at}"
    return ", ".join(filter(None, (str(measurement.problem), named)))


def entry(measurement: Measurement) -> Entry:
    """A measurement's mean, deviation and, where the paper has one, the paper's figure."""
    factor = 1000 if measurement.metric == "mmd" else 1
    if math.isfinite(measurement.mean):
        digits = 3 if abs(measurement.mean) * factor < 1 else 2
        text = f"{measurement.mean * factor:.{digits}f}" + (
            "" if measurement.std is None else f" ± {measurement.std * factor:.{digits}f}"
        )
    else:
        text = (
            INFINITE.get(measurement.metric.removesuffix(OVER_THE_VIEW), "∞")
            if measurement.mean > 0
            else "−∞ (no signal)"
        )
    if measurement.paper is None:
        return Entry(text)
    sign = -1 if measurement.metric in SMALLER_IS_BETTER else 1
    beaten = sign * measurement.mean >= sign * measurement.paper
    return Entry(text, f"{measurement.paper:.2f}", beaten if measurement.method == "MSD" else None)


def show(section: Section, console: Console) -> None:
    """Print a section's tables and where its pictures lie."""
    console.rule(section.title)
    for grid in grids(section.measurements):
        table = Table(title=grid.metric, title_justify="left")
        for head in ("method", "NFE", *grid.columns):
            table.add_column(head, justify="left" if head == "method" else "right")
        for method, nfe, row in grid.rows:
            table.add_row(method, nfe, *map(_plain, row))
        console.print(table)
    for file, caption in section.pictures:
        console.print(f"{caption}\n  {file}", highlight=False)


def write_json(measurements: Sequence[Measurement], file: Path) -> None:
    """One object a measurement; an infinite mean is the string "inf" or "-inf", unknown to JSON."""
    rows = [
        asdict(measurement) | ({} if math.isfinite(measurement.mean) else {"mean": str(measurement.mean)})
        for measurement in measurements
    ]
    text = json.dumps(rows, indent=1, allow_nan=False)
    save_text(text + "\n", file)


def write_markdown(sections: Sequence[Section], command: str, file: Path) -> None:
    """Every table as Markdown, under the command that made it."""
    lines = [
        f"Made by `{command}`. Mean ± standard deviation over the seeds; the paper's figure in brackets."
    ]
    for section in sections:
        for grid in grids(section.measurements):
            rows = [[method, nfe, *map(_plain, row)] for method, nfe, row in grid.rows]
            shown = markdown_table(["method", "NFE", *grid.columns], rows)
            lines += ["", f"**{section.title}: {grid.metric}**", "", shown]
    save_text("\n".join(lines) + "\n", file)


def _plain(entry: Entry) -> str:
    return entry.text + (f" ({entry.paper})" if entry.paper else "")


def write_page(sections: Sequence[Section], seeds: int, command: str, file: Path) -> None:
    """One self-contained HTML page: tables as HTML, pictures inline."""
    template = jinja2.Environment(autoescape=True).from_string(
        Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    )
    text = template.render(sections=sections, grids=grids, inline=_inline, seeds=seeds, command=command)
    save_text(text, file)


def _inline(file: Path) -> str:
    return f"data:{KINDS[file.suffix]};base64,{base64.b64encode(file.read_bytes()).decode()}"
