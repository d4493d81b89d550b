"""Tables in Markdown."""

from __future__ import annotations

from msd_lab.markdown import markdown_table


def test_a_table_has_a_rule_below_its_head_and_a_line_a_row():
    found = markdown_table(("method", "NFE"), [("MSD", 320), ("SDS", "–")])
    assert found == "| method | NFE |\n|---|---|\n| MSD | 320 |\n| SDS | – |"


def test_a_table_without_rows_is_its_head():
    assert markdown_table(["method"], []) == "| method |\n|---|"
