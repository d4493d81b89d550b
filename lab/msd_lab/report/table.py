"""Tables, written once and shown three ways: on the console, as Markdown and as HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from rich import table as rich

UNKNOWN = "–"


def number(value: float, style: str = "") -> str:
    """Format a number with three digits, or in a format such as `.2f`; without one NaN is a dash.

    >>> number(0.12345), number(12345.6), number(float("nan")), number(0.5, "+.1f")
    ('0.123', '12300', '–', '+0.5')
    """
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if style:
        return f"{value:{style}}"
    if math.isnan(value):
        return UNKNOWN
    if value == 0:
        return "0"
    digits = 2 - math.floor(math.log10(abs(value)))
    text = f"{round(value, digits):.{min(max(digits, 0), 6)}f}"
    return text if float(text) else "0"


@dataclass(frozen=True)
class Spread:
    """A figure measured several times, usually once a seed.

    Attributes:
        values: The measurements.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.values)) if self.values else math.nan

    @property
    def std(self) -> float:
        """Their standard deviation, with n - 1; NaN for a single one, whose spread is unknown."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else math.nan

    def deviation(self, style: str = "") -> str:
        """The standard deviation as `± s`; empty where it is unknown."""
        unknown = len(self.values) < 2 or not math.isfinite(self.mean)
        return "" if unknown else f"± {number(self.std, style.lstrip('+'))}"

    def text(self, style: str = "") -> str:
        """The mean and, of several values, the deviation; a dash without values.

        >>> Spread((0.5, 0.7)).text(), Spread((0.5,)).text(".3f"), Spread(()).text(".3f")
        ('0.600 ± 0.141', '0.500', '–')
        """
        return str(Entry.of(self, style))

    def __str__(self) -> str:
        return self.text() + (f" (n={len(self.values)})" if len(self.values) > 1 else "")


@dataclass(frozen=True)
class Entry:
    """An entry of a table.

    Attributes:
        text: The figure.
        note: What follows it in small print, such as a deviation or a published figure.
        mark: `best`, which is bold, or another class of the page's style sheet.
    """

    text: str
    note: str = ""
    mark: str = ""

    @classmethod
    def of(cls, spread: Spread, style: str = "", mark: str = "") -> Entry:
        text = number(spread.mean, style) if spread.values else UNKNOWN
        return cls(text, spread.deviation(style), mark)

    def __str__(self) -> str:
        return f"{self.text} {self.note}".strip()

    def markdown(self) -> str:
        return str(Entry(f"**{self.text}**", self.note)) if self.mark == "best" else str(self)

    def html(self) -> Markup:
        mark = Markup(' class="{}"').format(self.mark) if self.mark else ""
        note = Markup(" <small>{}</small>").format(self.note) if self.note else ""
        return Markup("<td{}>{}{}</td>").format(mark, self.text, note)


@dataclass(frozen=True)
class Table:
    """A table whose first column names the rows.

    Attributes:
        head: The headings.
        rows: As many values a row as there are headings: `Entry` or anything with a `str`.
        caption: Its title; empty for none.
        marked: Names of the rows that are emphasised on a page.
    """

    head: Sequence[object]
    rows: Sequence[Sequence[object]]
    caption: str = ""
    marked: tuple[str, ...] = ()

    def markdown(self) -> str:
        """As Markdown, without the caption and without a line break at the end.

        >>> print(Table(["method", "NFE"], [["MSD", Entry("320", mark="best")]]).markdown())
        | method | NFE |
        |---|---|
        | MSD | **320** |
        """
        rows = [[entry.markdown() for entry in map(_entry, row)] for row in (self.head, *self.rows)]
        lines = [f"| {' | '.join(row)} |" for row in rows]
        return "\n".join([lines[0], "|" + "---|" * len(self.head), *lines[1:]])

    def console(self) -> rich.Table:
        """As a table that `rich.console.Console.print` takes."""
        table = rich.Table(title=self.caption or None, title_justify="left")
        for i, heading in enumerate(self.head):
            table.add_column(str(heading), justify="right" if i else "left")
        for row in self.rows:
            table.add_row(*map(str, row))
        return table

    def html(self) -> Markup:
        """As HTML that scrolls sideways where the page is narrow."""
        caption = Markup("<caption>{}</caption>").format(self.caption) if self.caption else ""
        head = Markup("").join(Markup("<th>{}</th>").format(heading) for heading in self.head)
        body = Markup("\n").join(map(self._row, self.rows))
        return Markup(
            '<div class="scroll"><table>{}\n<thead><tr>{}</tr></thead><tbody>\n{}\n</tbody></table></div>'
        ).format(caption, head, body)

    def _row(self, row: Sequence[object]) -> Markup:
        mark = Markup(' class="marked"') if str(row[0]) in self.marked else ""
        return Markup("<tr{}>{}</tr>").format(mark, Markup("").join(_entry(value).html() for value in row))


def _entry(value: object) -> Entry:
    return value if isinstance(value, Entry) else Entry(str(value))
