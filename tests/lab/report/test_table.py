"""Tables and pages: one writer for the console, Markdown and HTML."""

from __future__ import annotations

import io
import math

import pytest
from msd_lab.report.page import Section, figure, folded, paragraph, write_page
from msd_lab.report.table import Entry, Spread, Table, number
from rich.console import Console


@pytest.mark.parametrize(
    ("values", "style", "text"),
    [
        ((), "", "–"),
        ((0.5,), "", "0.500"),
        ((math.nan,), "", "–"),
        ((0.5, 0.7), "", "0.600 ± 0.141"),
        ((0.5, math.nan), ".2f", "nan"),
        ((0.5, 0.7), "+.2f", "+0.60 ± 0.14"),
        ((math.inf, math.inf), ".2f", "∞"),
        ((-math.inf,), "", "-∞"),
    ],
)
def test_a_spread_has_a_deviation_where_one_is_known(values, style, text):
    assert Spread(values).text(style) == text


def test_the_number_of_values_is_told_where_there_are_several():
    assert [str(Spread(values)) for values in ((89232.4,), (0.5, 0.7))] == ["89200", "0.600 ± 0.141 (n=2)"]
    assert number(1e-9, ".0e") == "1e-09"


TABLE = Table(
    ["method", "NLL ↓"],
    [["MSD", Entry("-2.95", "± 0.01", "best")], ["<SDS>", Entry("3", "(2.9)", "bad")], ["DDIM", 7]],
    caption="likelihood",
    marked=("MSD",),
)


def test_one_table_is_markdown_console_and_html():
    assert TABLE.markdown().splitlines() == [
        "| method | NLL ↓ |",
        "|---|---|",
        "| MSD | **-2.95** ± 0.01 |",
        "| <SDS> | 3 (2.9) |",
        "| DDIM | 7 |",
    ]
    console = Console(file=io.StringIO(), width=60)
    console.print(TABLE.console())
    shown = console.file.getvalue()
    assert all(text in shown for text in ("likelihood", "-2.95 ± 0.01", "3 (2.9)", "DDIM"))
    html = TABLE.html()
    assert "<caption>likelihood</caption>" in html
    assert '<tr class="marked"><td>MSD</td><td class="best">-2.95 <small>± 0.01</small></td></tr>' in html
    assert '<td>&lt;SDS&gt;</td><td class="bad">3 <small>(2.9)</small></td>' in html


def test_a_page_holds_its_sections_and_escapes_their_texts(tmp_path):
    blocks = [
        paragraph("a < b", "faint"),
        TABLE.html(),
        figure("<svg></svg>", "R&D"),
        folded("more", "x: <y>"),
    ]
    sections = [Section("", ["1 < 2"]), Section("Toys & more", blocks, "toys")]
    page = write_page(tmp_path / "index.html", "A <title>", sections).read_text(encoding="utf-8")
    assert "<h1>A &lt;title&gt;</h1>" in page
    assert '<nav><a href="#toys">Toys &amp; more</a></nav>' in page
    assert '<section id="toys">\n<h2>Toys &amp; more</h2>' in page
    assert '<p class="faint">a &lt; b</p>' in page
    assert "<figure><svg></svg><figcaption>R&amp;D</figcaption></figure>" in page
    assert "<details><summary>more</summary><pre>x: &lt;y&gt;</pre></details>" in page
    assert "1 &lt; 2" in page
