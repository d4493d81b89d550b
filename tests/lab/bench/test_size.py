"""Statements are counted by part."""

from msd_lab.bench.size import sizes


def test_statements_of_every_part_but_tests_are_counted(tmp_path):
    for name in ("lab/a.py", "lab/deep/b.py", "tests/c.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('"""Doc."""\n\nif True:\n    x = 1\n')
    (tmp_path / "launch.py").write_text("import os\n")
    assert sizes(tmp_path) == {"launch.py": 1, "lab": 6}
