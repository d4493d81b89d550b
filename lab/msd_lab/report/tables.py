"""Tables of a comparison: which columns, what is best, and the sentences under them; as Markdown too."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..compare.curves import convergence
from ..compare.grid import DDIM
from ..compare.results import Figures, Results, Row, Table
from ..markdown import markdown_table
from ..report.table import Spread

LABELS = {"ddim": "DDIM images", "truth": "true renders"}
IN_BRIEF = (
    *("frechet_ddim", "frechet_truth", "alignment", "clip_similarity", "precision_ddim", "recall_ddim"),
    *("saturation", "contrast", "diversity"),
)
"""The figures of the Markdown tables."""
OTHERS_IN_BRIEF = ("frechet_ddim", "frechet_truth", "alignment", "clip_similarity")
"""Those of further extractors, beside the first's."""

UNKNOWN = Spread(())


@dataclass(frozen=True)
class Column:
    """A column of the tables: which figure, its heading, and whether less is better (None: neither is)."""

    figure: str
    label: str
    less_is_better: bool | None = None

    @property
    def heading(self) -> str:
        """Its label, with an arrow to where better is."""
        return f"{self.label} {({True: '↓', False: '↑', None: ''})[self.less_is_better]}".strip()


def columns(figures: Iterable[str]) -> list[Column]:
    """The columns that a comparison's figures call for, every extractor's beside the first's."""
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
        Column("contrast", "contrast"),
        Column("sharpness", "sharpness"),
        Column("diversity", "diversity"),
    ]
    figures = list(figures)
    others = list(dict.fromkeys(name.partition("@")[2] for name in figures if "@" in name))
    shown = []
    for column in known:
        beside = [
            Column(f"{column.figure}@{other}", f"{column.label}, {other}", column.less_is_better)
            for other in others
        ]
        shown += [one for one in (column, *beside) if one.figure in figures]
    return shown


def in_brief(figure: str) -> bool:
    """Whether the Markdown tables show a figure."""
    name, at, _ = figure.partition("@")
    return name in (OTHERS_IN_BRIEF if at else IN_BRIEF)


def number(value: float) -> str:
    """Three digits, or a dash where there is none.

    >>> number(0.12345), number(12345.6), number(float("nan"))
    ('0.123', '12300', '–')
    """
    if math.isnan(value):
        return "–"
    if value == 0:
        return "0"
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{round(value, digits):.{min(max(digits, 0), 6)}f}"


@dataclass(frozen=True)
class TableCell:
    """A figure as it is printed, and whether it is the best of its column."""

    spread: Spread
    best: bool = False

    def __str__(self) -> str:
        deviation = "" if math.isnan(self.spread.std) else f" ± {number(self.spread.std)}"
        mean = number(self.spread.mean)
        return f"{f'**{mean}**' if self.best else mean}{deviation}"

    @property
    def mean(self) -> str:
        """Three digits, or a dash."""
        return number(self.spread.mean)

    @property
    def std(self) -> str:
        """Three digits, or a dash."""
        return number(self.spread.std)


@dataclass(frozen=True)
class TableRow:
    """A row as it is printed: label, what it took, and a cell a column."""

    label: str
    spent: tuple[str, ...]
    cells: tuple[TableCell, ...]


SPENT = ("steps", "NFE", "GFLOP", "seconds")
"""What a row took: optimiser steps; evaluations and billions of operations an image; seconds a run."""


def table_rows(table: Table, ddim: Figures, shown: Sequence[Column]) -> list[TableRow]:
    """The rows of a budget's table, DDIM last, the best method of each column marked."""
    best = {column.figure: _best(table, column) for column in shown}

    def cells(label: str, figures: Figures) -> tuple[TableCell, ...]:
        return tuple(
            TableCell(figures.get(column.figure, UNKNOWN), label in best[column.figure]) for column in shown
        )

    rows = [TableRow(label, _spent(row), cells(label, row.figures)) for label, row in table.items()]
    return [*rows, TableRow(DDIM, ("–",) * len(SPENT), cells(DDIM, ddim))]


def _spent(row: Row) -> tuple[str, ...]:
    return f"{row.taken:.0f}", f"{row.nfe:.0f}", number(row.flop / 1e9), number(row.seconds)


def _best(table: Table, column: Column) -> set[str]:
    """The methods with the best mean of a figure; none where better has no meaning or nothing is known."""
    means = {label: row.figures.get(column.figure, UNKNOWN).mean for label, row in table.items()}
    known = {label: mean for label, mean in means.items() if not math.isnan(mean)}
    if column.less_is_better is None or not known:
        return set()
    top = min(known.values()) if column.less_is_better else max(known.values())
    return {label for label, mean in known.items() if mean == top}


def against_ddim(table: Table, ddim: Figures, ours: str) -> tuple[Table, Figures, list[Column]]:
    """What mode seeking may cost, measured by DDIM's images: a second table, its DDIM row, and its columns.

    Args:
        table: A budget's methods.
        ddim: Figures of DDIM images.
        ours: The method whose Fréchet distance above DDIM's is the unit of the others'.
    """
    unit = table[ours].figures if ours in table else {}
    rows = {label: replace(row, figures=_relative(row.figures, ddim, unit)) for label, row in table.items()}
    floor = _relative(ddim, ddim, unit)
    known = {name for row in rows.values() for name in row.figures}
    return rows, floor, [column for column in _relative_columns(ddim, ours) if column.figure in known]


CHANGES = {"saturation": "change of saturation", "contrast": "change of contrast"}
PARTS = {"diversity": "part of its diversity", "recall_ddim": "part of its recall"}


def _relative_columns(ddim: Figures, ours: str) -> list[Column]:
    shown = [Column(name, label) for name, label in CHANGES.items()]
    for name in ddim:
        figure, at, extractor = name.partition("@")
        suffix = f", {extractor}" if at else ""
        if figure in PARTS:
            shown.append(Column(name, f"{PARTS[figure]}{suffix}", False))
        elif figure.startswith("frechet_"):
            label = LABELS[figure.removeprefix("frechet_")]
            shown.append(Column(name, f"Fréchet to {label} above its, in {ours}'s{suffix}", True))
    return shown


def _relative(figures: Figures, ddim: Figures, unit: Figures) -> Figures:
    """Changes and parts of DDIM's mean, and distances above it in units of another method's mean."""
    found = {}
    for name, spread in figures.items():
        figure, base = name.partition("@")[0], ddim.get(name, UNKNOWN).mean
        if figure in CHANGES:
            found[name] = _scaled(spread, base, base)
        elif figure in PARTS:
            found[name] = _scaled(spread, 0.0, base)
        elif figure.startswith("frechet_"):
            found[name] = _scaled(spread, base, unit.get(name, UNKNOWN).mean - base)
    return found


def _scaled(spread: Spread, zero: float, unit: float) -> Spread:
    """Measured from `zero` in units that must be more than nothing."""
    return Spread(tuple((value - zero) / unit if unit > 0 else math.nan for value in spread.values))


def sentences(table: Table, ddim: Figures, ours: str) -> list[str]:
    """What is said under a table."""
    return [*convergence_lines(table, ddim, ours), *end_lines(table)]


def convergence_lines(table: Table, ddim: Figures, ours: str) -> list[str]:
    """How our method stands to the best other's Fréchet distance, one sentence a reference."""
    lines = []
    for name, label in LABELS.items():
        figure = f"frechet_{name}"
        floor = ddim.get(figure, UNKNOWN).mean
        found = convergence(table, ours, figure, floor)
        if found is None:
            continue
        best = f"the best other method's Fréchet distance to {label} ({found.method}, {number(found.level)})"
        if found.reached is None:
            line = f"{ours} does not reach {best} within its budget"
        else:
            line = (
                f"{ours} reaches {best} after {found.reached:.0f} network function evaluations, "
                f"{number(found.ratio)} of the {found.nfe:.0f} which that method spent"
            )
        if found.above_floor is not None:
            line += f"; above DDIM's {number(floor)}, its own is {number(found.above_floor)} of that method's"
        lines.append(f"{line}.")
    return lines


def end_lines(table: Table) -> list[str]:
    """Whether the last images are the best: Fréchet distances at the end over the least on the path, seed by
    seed; one sentence a reference.
    """
    lines = []
    for name, label in LABELS.items():
        ends = {method: end_over_best(row, f"frechet_{name}") for method, row in table.items()}
        told = [f"{method} {TableCell(spread)}" for method, spread in ends.items() if spread.values]
        if told:
            lines.append(
                f"Fréchet distance to {label} at the end, in the least on the path: {', '.join(told)}."
            )
    return lines


def end_over_best(row: Row, figure: str) -> Spread:
    """A figure at a path's end over its least, seed by seed; of no curve, nothing."""
    path = [point.figures[figure].values for point in row.curve if figure in point.figures]
    return Spread(tuple(own[-1] / min(own) for own in zip(*path, strict=True)))


def markdown(results: Results, ours: str) -> str:
    """The tables as Markdown: figures in brief, mean ± standard deviation; under each the one against DDIM's.

    Args:
        results: What was found.
        ours: The method whose convergence is told.
    """
    shown = [column for column in columns(results.ddim) if in_brief(column.figure)]
    blocks = []
    for budget, table in results.budgets.items():
        told = sentences(table, results.ddim, ours)
        first = _markdown_table(table_rows(table, results.ddim, shown), shown, SPENT)
        rows, floor, relative = against_ddim(table, results.ddim, ours)
        blocks += [f"`{budget}`", first, *told]
        if relative:
            blocks += ["Against DDIM's images:", _markdown_table(table_rows(rows, floor, relative), relative)]
    return "\n\n".join(blocks) + "\n"


def _markdown_table(rows: Sequence[TableRow], shown: Sequence[Column], spent: Sequence[str] = ()) -> str:
    heading = ["method", *spent, *(column.heading for column in shown)]
    return markdown_table(heading, [[row.label, *row.spent[: len(spent)], *row.cells] for row in rows])
