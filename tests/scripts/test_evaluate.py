"""`scripts/evaluate.py`; that its figures are the comparison's: test_compare.py."""

from __future__ import annotations


def test_evaluate_says_what_it_looked_for(script, tmp_path):
    assert "error: features clip" in script("evaluate", tmp_path, "--features", f"clip={tmp_path}", status=2)
