import typing
from dataclasses import dataclass
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from threestudio_msd.fields import (
    FieldError,
    Range,
    check_fields,
    check_value,
    choice,
    listed,
    missing_fields,
    number,
    pair,
    scheduled,
    shown,
)


@dataclass
class Settings:
    needed: float = number(least=0)
    steps: int = number(8, least=1)
    interval: tuple[float, float] = pair((0.0, 1.0), least=0)
    solver: str = choice("ddim", ("ddim", "heun"))
    scale: Any = scheduled(7.5, least=0)
    limit: float | None = number(None, above=0)


GOOD = {
    "needed": (0, 1.5),
    "steps": (1, 100),
    "interval": ((0, 1), [0.5, 0.5]),
    "solver": ("ddim", "heun"),
    "scale": (0, 7.5, [1, 2, 100], [0, 1.0, 2.0, 100], [0, 1, 2, 100, 3, 200]),
    "limit": (None, 0.1),
}
BAD = {
    "needed": (-1, nan, inf, "a", None, True),
    "steps": (0, 2.5, True, "8", None),
    "interval": ((1, 0), (0,), (0, 1, 2), (0, nan), "ab", None, 3),
    "solver": ("euler", 3, None),
    "scale": (-1, nan, "lots", [0, 1], [0, 1, 2, -1], [0, nan, 2, 100], None, True),
    "limit": (0, nan, "none"),
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in GOOD.items() for value in values]
)
def test_right_values_pass(name, value):
    check_fields(Settings, {name: value})


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD.items() for value in values]
)
def test_wrong_values_are_refused_by_name_with_what_is_expected(name, value):
    with pytest.raises(FieldError, match=f"^{name}: expected .*, got "):
        check_fields(Settings, {name: value})


def test_unknown_names_get_the_nearest():
    with pytest.raises(FieldError, match="stpes: unknown key; did you mean 'steps'"):
        check_fields(Settings, {"stpes": 3})


def test_an_instance_is_checked_whole_and_its_missing_fields_are_named():
    check_fields(Settings(1.0))
    with pytest.raises(FieldError, match=r"^needed: expected a number of at least 0, got -1$"):
        check_fields(Settings(-1))
    assert missing_fields(Settings, ["steps"]) == ["needed"]


@given(st.floats(), st.floats(-10, 10), st.floats(-10, 10))
def test_a_range_holds_what_lies_within_and_never_nan(value, low, high):
    within = Range(least=low, below=high)
    assert (value in within) == (low <= value < high)


def test_values_and_names_as_a_config_writes_them():
    assert [shown(value) for value in (None, True, "a", 2.5)] == ["null", "true", "'a'", "2.5"]
    assert (listed(["a", "b"]), listed([])) == ("a, b", "none")


@pytest.mark.parametrize("hint", [tuple, vars(typing)["Tuple"], tuple[float, ...]])  # threestudio has such
def test_tuples_of_any_length_are_left_to_their_class(hint):
    check_value("colour", [1, 2, 3, 4], hint, {})


def test_what_is_called_otherwise_elsewhere():
    field = choice("float32", ("float16", "float32"), {"fp16": "float16"})
    with pytest.raises(FieldError, match=r"^dtype: .*, got 'fp16'; did you mean 'float16'\?$"):
        check_value("dtype", "fp16", str, field.metadata)


def test_numbers_that_float32_cannot_compute_with():
    with pytest.raises(FieldError, match=r"got 1e\+300; numbers are at most 1e\+30$"):
        check_value("scale", 1e300, float, {})
