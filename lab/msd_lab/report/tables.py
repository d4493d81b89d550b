"""Tables of a comparison of images: which columns, what is best, and the sentences under them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..compare.curves import convergence
from ..compare.methods import DDIM
from ..compare.results import Figures, Results, Row, Rows
from .table import UNKNOWN, Entry, Spread, Table, number

LABELS = {"ddim": "DDIM images", "truth": "true renders"}
IN_BRIEF = (
    *("frechet_ddim", "frechet_truth", "alignment", "clip_similarity", "precision_ddim", "recall_ddim"),
    *("saturation", "contrast", "diversity", "lpips"),
)
"""The figures of the Markdown tables."""
OTHERS_IN_BRIEF = ("frechet_ddim", "frechet_truth", "alignment", "clip_similarity")
"""Those of further extractors, beside the first's."""
KERNEL_IN_BRIEF = ("kernel_ddim", "kernel_truth")
"""Those of Inception: its Fréchet distance, FID, is mostly bias in so few images."""
TRUTH = "true renders"
"""The label of the row of renders, which is no method."""

NO_VALUES = Spread(())


@dataclass(frozen=True)
class Column:
    """A column of the tables: which figure, its heading, and whether less is better (None: neither is)."""

    figure: str
    label: str
    less_is_better: bool | None = None

    @property
    def heading(self) -> str:
        """The label, with an arrow to where better is."""
        return f"{self.label} {({True: '↓', False: '↑', None: ''})[self.less_is_better]}".strip()

    def of(self, extractor: str) -> Column:
        return replace(self, figure=f"{self.figure}@{extractor}", label=f"{self.label}, {extractor}")

    def best(self, rows: Rows) -> set[str]:
        """The methods with the best mean; none where better has no meaning or nothing is known."""
        means = {label: row.figures.get(self.figure, NO_VALUES).mean for label, row in rows.items()}
        known = {label: mean for label, mean in means.items() if not math.isnan(mean)}
        if self.less_is_better is None or not known:
            return set()
        top = min(known.values()) if self.less_is_better else max(known.values())
        return {label for label, mean in known.items() if mean == top}


def _by_reference(figure: str, label: str, less_is_better: bool) -> list[Column]:
    return [
        Column(f"{figure}_{name}", label.format(reference), less_is_better)
        for name, reference in LABELS.items()
    ]


COLUMNS = (
    *_by_reference("frechet", "Fréchet to {}", True),
    *_by_reference("kernel", "KID to {}", True),
    Column("alignment", "alignment", False),
    Column("clip_similarity", "CLIP similarity", False),
    Column("object", "right object", False),
    Column("colour", "right colour", False),
    *_by_reference("precision", "precision ({})", False),
    *_by_reference("recall", "recall ({})", False),
    *(Column(name, name) for name in ("saturation", "contrast", "sharpness", "diversity")),
    Column("lpips", "LPIPS within a prompt"),
)


def columns(figures: Iterable[str]) -> list[Column]:
    """The columns that figures call for, every further extractor's beside the first's."""
    figures = list(figures)
    others = list(dict.fromkeys(name.partition("@")[2] for name in figures if "@" in name))
    beside = (column for first in COLUMNS for column in (first, *map(first.of, others)))
    return [column for column in beside if column.figure in figures]


def in_brief(column: Column) -> bool:
    name, at, extractor = column.figure.partition("@")
    others = KERNEL_IN_BRIEF if extractor == "inception" else OTHERS_IN_BRIEF
    return name in (others if at else IN_BRIEF)


SPENT = {
    "steps": lambda row: f"{row.taken:.0f}",
    "NFE": lambda row: f"{row.nfe:.0f}",
    "GFLOP": lambda row: number(row.flop / 1e9),
    "seconds": lambda row: number(row.seconds),
}
"""The cost of a row: optimiser steps; evaluations and billions of operations an image; seconds a run."""


def table(
    rows: Rows, ddim: Figures, shown: Sequence[Column], spent: Mapping = SPENT, truth: Figures | None = None
) -> Table:
    """A budget's table, DDIM and true renders last, the best method of each column marked."""
    best = {column.figure: column.best(rows) for column in shown}

    def entries(label: str, figures: Figures) -> list[Entry]:
        return [
            Entry.of(
                figures.get(column.figure, NO_VALUES), mark="best" if label in best[column.figure] else ""
            )
            for column in shown
        ]

    lines = [
        [label, *(cost(row) for cost in spent.values()), *entries(label, row.figures)]
        for label, row in rows.items()
    ]
    references = {DDIM: ddim} | ({TRUTH: truth} if truth else {})
    lines += [[name, *[UNKNOWN] * len(spent), *entries(name, own)] for name, own in references.items()]
    return Table(["method", *spent, *(column.heading for column in shown)], lines)


CHANGES = {"saturation": "change of saturation", "contrast": "change of contrast"}
PARTS = {"diversity": "part of its diversity", "recall_ddim": "part of its recall"}


def relative_rows(rows: Rows, ddim: Figures, ours: str) -> tuple[Rows, Figures]:
    """Rows, and DDIM's, in units of DDIM's figures: what seeking modes costs.

    Args:
        rows: A budget's methods.
        ddim: Figures of DDIM images.
        ours: The method whose Fréchet distance above DDIM's is the unit of the others'.
    """
    unit = rows[ours].figures if ours in rows else {}
    found = {label: replace(row, figures=_relative(row.figures, ddim, unit)) for label, row in rows.items()}
    return found, _relative(ddim, ddim, unit)


def against_ddim(rows: Rows, ddim: Figures, ours: str) -> Table:
    """The table of `relative_rows`; without a column but the first if no such figure was measured."""
    found, floor = relative_rows(rows, ddim, ours)
    known = {name for row in found.values() for name in row.figures}
    shown = [column for column in _relative_columns(ddim, ours) if column.figure in known]
    return table(found, floor, shown, {})


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
        figure, base = name.partition("@")[0], ddim.get(name, NO_VALUES).mean
        if figure in CHANGES:
            found[name] = _scaled(spread, base, base)
        elif figure in PARTS:
            found[name] = _scaled(spread, 0.0, base)
        elif figure.startswith("frechet_"):
            found[name] = _scaled(spread, base, unit.get(name, NO_VALUES).mean - base)
    return found


def _scaled(spread: Spread, zero: float, unit: float) -> Spread:
    return Spread(tuple((value - zero) / unit if unit > 0 else math.nan for value in spread.values))


def sentences(rows: Rows, ddim: Figures, ours: str) -> list[str]:
    return [*convergence_lines(rows, ddim, ours), *end_lines(rows)]


def convergence_lines(rows: Rows, ddim: Figures, ours: str) -> list[str]:
    """How soon our method reaches the best other's Fréchet distance, one sentence a reference."""
    lines = []
    for name, label in LABELS.items():
        figure = f"frechet_{name}"
        floor = ddim.get(figure, NO_VALUES).mean
        found = convergence(rows, ours, figure, floor)
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


def end_lines(rows: Rows) -> list[str]:
    """Whether the last images are the best: Fréchet distances at the end over the least on the path, seed by
    seed; one sentence a reference.
    """
    lines = []
    for name, label in LABELS.items():
        ends = {method: end_over_best(row, f"frechet_{name}") for method, row in rows.items()}
        known = [f"{method} {spread.text()}" for method, spread in ends.items() if spread.values]
        if known:
            lines.append(
                f"Fréchet distance to {label} at the end, in the least on the path: {', '.join(known)}."
            )
    return lines


def end_over_best(row: Row, figure: str) -> Spread:
    """A figure at a path's end over its least, seed by seed; without a curve, no values."""
    path = [point.figures[figure].values for point in row.curve if figure in point.figures]
    return Spread(tuple(own[-1] / min(own) for own in zip(*path, strict=True)))


def markdown(results: Results, ours: str) -> str:
    """The tables in brief as Markdown, each with its sentences and the table against DDIM's images.

    Args:
        results: The figures.
        ours: The method whose convergence is reported.
    """
    shown = list(filter(in_brief, columns(results.ddim)))
    blocks = []
    for budget, rows in results.budgets.items():
        blocks += [f"`{budget}`", table(rows, results.ddim, shown, truth=results.truth).markdown()]
        blocks += sentences(rows, results.ddim, ours)
        relative = against_ddim(rows, results.ddim, ours)
        if len(relative.head) > 1:
            blocks += ["Against DDIM's images:", relative.markdown()]
    return "\n\n".join(blocks) + "\n"
