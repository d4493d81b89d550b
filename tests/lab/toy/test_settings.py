"""What a command of the toys is given."""

from __future__ import annotations

import dataclasses

import pytest
from msd_lab.toy.settings import QUICK, Scale, Settings


def test_quick_is_smaller_in_all_that_costs():
    whole = Scale()
    for field in dataclasses.fields(Scale):
        quick, full = getattr(QUICK, field.name), getattr(whole, field.name)
        if field.name == "training":
            quick, full = quick.steps * quick.batch, full.steps * full.batch
        elif field.name == "starts":
            quick, full = len(quick), len(full)
        assert quick < full, field.name


def test_a_picture_is_written_whole_or_not_at_all(tmp_path):
    settings = Settings(1, QUICK, tmp_path / "out", lambda measurements: None)
    assert settings.picture("a.png", lambda path: path.write_bytes(b"whole")).read_bytes() == b"whole"

    def half(path):
        path.write_bytes(b"ha")
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        settings.picture("a.png", half)
    assert [path.name for path in settings.out.iterdir()] == ["a.png"]
    assert (settings.out / "a.png").read_bytes() == b"whole"
