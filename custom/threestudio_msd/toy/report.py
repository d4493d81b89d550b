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

from ..files import write_whole
from .experiments import OVER_THE_VIEW, Cell
from .problems import Problem

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
        text: What the reader is to see in it, in a few sentences.
        cells: Its figures, if any.
        pictures: Files of pictures and animations, each with its caption.
    """

    name: str
    title: str
    text: str
    cells: list[Cell] = field(default_factory=list)
    pictures: list[tuple[Path, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Entry:
    """One figure as a table shows it: its text, the paper's beside it, and whether ours is at least as good."""

    text: str
    paper: str = ""
    beaten: bool | None = None


@dataclass(frozen=True)
class Grid:
    """A table of one metric: a column a problem, a row a method."""

    metric: str
    columns: list[str]
    rows: list[tuple[str, str, list[Entry]]]


def grids(cells: Iterable[Cell]) -> list[Grid]:
    """One table a metric; what follows "at" in a metric's name becomes a column."""
    by_metric: dict[str, list[Cell]] = {}
    for cell in cells:
        by_metric.setdefault(cell.metric.partition(" at ")[0], []).append(cell)
    return [_grid(metric, group) for metric, group in by_metric.items()]


def _grid(metric: str, cells: Sequence[Cell]) -> Grid:
    columns = list(dict.fromkeys(map(_column, cells)))
    entries: dict[str, dict[str, Entry]] = {}
    calls: dict[str, str] = {}
    for cell in cells:
        entries.setdefault(cell.method, {})[_column(cell)] = entry(cell)
        calls[cell.method] = str(cell.calls)
    rows = [
        (method, calls[method], [row.get(column, Entry("")) for column in columns])
        for method, row in entries.items()
    ]
    return Grid(NAMES.get(metric, metric), columns, rows)


def _column(cell: Cell) -> str:
    at = cell.metric.partition(" at ")[2]
    return str(Problem(cell.density, cell.denoiser, cell.guidance)) + (f", λ = {at}" if at else "")


def entry(cell: Cell) -> Entry:
    """A cell's mean, deviation and, where the paper has one, the paper's figure."""
    factor = 1000 if cell.metric == "mmd" else 1
    if math.isfinite(cell.mean):
        digits = 3 if abs(cell.mean) * factor < 1 else 2
        text = f"{cell.mean * factor:.{digits}f}" + (
            "" if cell.std is None else f" ± {cell.std * factor:.{digits}f}"
        )
    else:
        text = INFINITE[cell.metric.removesuffix(OVER_THE_VIEW)] if cell.mean > 0 else "−∞ (no signal)"
    if cell.paper is None:
        return Entry(text)
    sign = -1 if cell.metric in SMALLER_IS_BETTER else 1
    beaten = sign * cell.mean >= sign * cell.paper
    return Entry(text, f"{cell.paper:.2f}", beaten if cell.method == "MSD" else None)


def show(section: Section, console: Console) -> None:
    """Print a section's tables and where its pictures lie."""
    console.rule(section.title)
    for grid in grids(section.cells):
        table = Table(title=grid.metric, title_justify="left")
        for head in ("method", "calls", *grid.columns):
            table.add_column(head, justify="left" if head == "method" else "right")
        for method, calls, row in grid.rows:
            table.add_row(method, calls, *map(_plain, row))
        console.print(table)
    for file, caption in section.pictures:
        console.print(f"{caption}\n  {file}", highlight=False)


def write_json(cells: Sequence[Cell], file: Path) -> None:
    """One object a cell; an infinite mean is the string "inf" or "-inf", since JSON has no such number."""
    rows = [asdict(cell) | ({} if math.isfinite(cell.mean) else {"mean": str(cell.mean)}) for cell in cells]
    text = json.dumps(rows, indent=1, allow_nan=False)
    write_whole(file, lambda aside: aside.write_text(text + "\n", encoding="utf-8"))


def write_markdown(sections: Sequence[Section], command: str, file: Path) -> None:
    """Every table as Markdown, under the command that made it."""
    lines = [
        f"Made by `{command}`. Mean ± standard deviation over the seeds; the paper's figure in brackets."
    ]
    for section in sections:
        for grid in grids(section.cells):
            lines += [
                "",
                f"**{section.title}: {grid.metric}**",
                "",
                f"| method | calls | {' | '.join(grid.columns)} |",
            ]
            lines.append("|---" * (len(grid.columns) + 2) + "|")
            for method, calls, row in grid.rows:
                lines.append(f"| {method} | {calls} | {' | '.join(map(_plain, row))} |")
    write_whole(file, lambda aside: aside.write_text("\n".join(lines) + "\n", encoding="utf-8"))


def _plain(entry: Entry) -> str:
    return entry.text + (f" ({entry.paper})" if entry.paper else "")


def write_page(sections: Sequence[Section], seeds: int, command: str, file: Path) -> None:
    """One self-contained HTML page: tables as HTML, pictures inline."""
    template = jinja2.Environment(autoescape=True).from_string(
        Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    )
    text = template.render(sections=sections, grids=grids, inline=_inline, seeds=seeds, command=command)
    write_whole(file, lambda aside: aside.write_text(text, encoding="utf-8"))


def _inline(file: Path) -> str:
    return f"data:{KINDS[file.suffix]};base64,{base64.b64encode(file.read_bytes()).decode()}"
