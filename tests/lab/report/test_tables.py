"""Tables: what is best, what is unknown."""

from __future__ import annotations

from math import nan

from msd_lab.compare.results import About, Point, Results, Row
from msd_lab.report.table import Spread, number
from msd_lab.report.tables import against_ddim, columns, end_lines, markdown, relative_rows, table


def row(**figures):
    return Row(8, 31.6, 1, 1, {name: Spread((value,)) for name, value in figures.items()}, ())


def test_numbers_have_three_digits():
    assert [number(x) for x in (0.0, 1.0, 0.01234, 123.4, 98765.0, -2.5, nan)] == [
        "0", "1.00", "0.0123", "123", "98800", "-2.50", "–",
    ]  # fmt: skip


def test_missing_figures_show_as_a_dash_and_never_win():
    rows = {"A": row(alignment=nan, frechet_ddim=3.0), "B": row(alignment=0.0), "C": row(frechet_ddim=2.0)}
    shown = columns(["alignment", "frechet_ddim", "saturation"])
    assert [column.figure for column in shown] == ["frechet_ddim", "alignment", "saturation"]
    assert table(rows, {"alignment": Spread((1.0,))}, shown, {}).markdown().splitlines()[2:] == [
        "| A | 3.00 | – | – |",
        "| B | – | **0** | – |",
        "| C | **2.00** | – | – |",
        "| DDIM | – | 1.00 | – |",
    ]


def entries(table):
    return [entry for line in table.rows for entry in line[1:]]


def test_nothing_wins_where_nothing_is_known():
    for rows in ({}, {"A": row(recall_ddim=nan), "B": row(recall_ddim=nan)}):
        shown = table(rows, {"recall_ddim": Spread((nan,))}, columns(["recall_ddim"]), {})
        assert {entry.markdown() for entry in entries(shown)} == {"–"}


def test_equal_methods_are_both_the_best():
    rows = {"A": row(alignment=0.5), "B": row(alignment=0.5)}
    shown = table(rows, {}, columns(["alignment"]), {})
    assert [entry.mark for entry in entries(shown)] == ["best", "best", ""]


def test_columns_of_further_extractors_stand_beside_the_firsts():
    shown = columns(["alignment@judge2", "saturation", "alignment", "frechet_ddim@judge2"])
    assert [column.heading for column in shown] == [
        "Fréchet to DDIM images, judge2 ↓",
        "alignment ↑",
        "alignment, judge2 ↑",
        "saturation",
    ]


def test_markdown_shows_few_figures_of_further_extractors():
    about = About("judge", 2, 1, (0,), ("a red mug",), {"ddim": 16})
    names = ("alignment", "alignment@judge2", "diversity", "diversity@judge2", "kernel_ddim")
    figures = {name: Spread((0.5,)) for name in names}
    head = markdown(
        Results(about, figures, {"nfe=32": {"A": row(**dict.fromkeys(names, 0.5))}}), "A"
    ).splitlines()[2]
    assert head.split(" | ")[5:] == ["alignment ↑", "alignment, judge2 ↑", "diversity |"]


def test_markdown_has_deviations_where_there_are_any():
    about = About("judge", 2, 1, (0, 1), ("a red mug",), {"ddim": 16})
    table = {"A": Row(8, 32, 2, 2, {"alignment": Spread((0.5, 0.7))}, (), flop=1.5e9, taken=8.0, seconds=9.0)}
    text = markdown(Results(about, {"alignment": Spread((1.0,))}, {"nfe=32": table}), "A")
    assert text.splitlines() == [
        "`nfe=32`",
        "",
        "| method | steps | NFE | GFLOP | seconds | alignment ↑ |",
        "|---|---|---|---|---|---|",
        "| A | 8 | 32 | 1.50 | 9.00 | **0.600** ± 0.141 |",
        "| DDIM | – | – | – | – | 1.00 |",
    ]


def test_figures_stand_against_ddims():
    ddim = {
        name: Spread((value,))
        for name, value in {
            "saturation": 0.2,
            "diversity@second": 10,
            "recall_ddim": 0.5,
            "frechet_ddim": 50,
        }.items()
    }
    table = {
        "OURS": row(saturation=0.21, **{"diversity@second": 9.0}, recall_ddim=0.4, frechet_ddim=70.0),
        "OTHER": row(saturation=0.1, recall_ddim=nan, frechet_ddim=110.0),
    }
    shown = against_ddim(table, ddim, "OURS")
    assert shown.head[1:] == [
        "change of saturation",
        "part of its diversity, second ↑",
        "part of its recall ↑",
        "Fréchet to DDIM images above its, in OURS's ↓",
    ]
    assert {label: [entry.text for entry in own] for label, *own in shown.rows} == {
        "OURS": ["0.0500", "0.900", "0.800", "1.00"],
        "OTHER": ["-0.500", "–", "–", "3.00"],
        "DDIM": ["0", "1.00", "1.00", "0"],
    }


def test_nothing_is_measured_in_units_of_a_distance_below_ddims():
    rows, _ = relative_rows({"OURS": row(frechet_ddim=40.0)}, {"frechet_ddim": Spread((50.0,))}, "OURS")
    assert str(rows["OURS"].figures["frechet_ddim"].mean) == "nan"


def test_the_end_of_a_path_is_measured_by_its_best_seed_by_seed():
    path = [
        Point(step, 1.0, {"frechet_ddim": Spread(own)})
        for step, own in enumerate([(9.0, 8.0), (4.0, 8.0), (6.0, 8.0)])
    ]
    table = {"A": Row(2, 1.0, 1, 1, {}, tuple(path)), "B": row(frechet_ddim=1.0)}
    (line,) = end_lines(table)
    assert line == "Fréchet distance to DDIM images at the end, in the least on the path: A 1.25 ± 0.354."
