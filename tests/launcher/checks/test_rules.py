"""Settings against what takes them: names, annotations, ranges, and what a class itself refuses."""

import logging
import warnings
from typing import Any

import pytest
import torch
from threestudio_msd.fields import number

from launcher import UserError
from launcher.checks.rules import (
    annotations,
    attempt,
    check_arguments,
    check_names,
    joined,
    parameters,
    plain_part,
    require_mapping,
)


def make(size: int, rate: float = 1.0):
    """Something that refuses a rate above its size, and complains of it on the way."""
    warnings.warn("noise", stacklevel=1)
    logging.getLogger("house").warning("noise")
    if rate > size:
        raise ValueError("too fast\nfor this size")


def refuse_all(**settings):
    raise ValueError("never")


def test_a_key_that_is_not_known_is_told_with_the_nearest_or_with_all():
    check_names("a", {"size": 1}, ["size", "rate"])
    with pytest.raises(UserError, match=r"^a\.sise: unknown key; did you mean 'size'\?$"):
        check_names("a", {"sise": 1}, ["size", "rate"])
    with pytest.raises(UserError, match=r"^zzz: unknown key; known: size, rate$"):
        check_names("", {"zzz": 1}, ["size", "rate"])


def test_values_are_held_against_annotations_and_ranges():
    rules = {"rate": number(above=0)}
    check_arguments("a", make, {"size": 2, "rate": 0.5, "other": object()}, rules)
    with pytest.raises(UserError, match=r"^a\.size: expected an integer, got 2\.5$"):
        check_arguments("a", make, {"size": 2.5}, rules)
    with pytest.raises(UserError, match=r"^a\.rate: expected a number above 0, got 0$"):
        check_arguments("a", make, {"rate": 0}, rules)
    with pytest.raises(UserError, match=r"^a\.size: expected text, got 2$"):
        check_arguments("a", make, {"size": 2}, {"size": (str, None)})


def test_what_a_class_refuses_is_told_with_the_setting_that_it_hangs_on(capfd, recwarn):
    attempt("a", make, {"size": 2, "rate": 1.0})
    with pytest.raises(UserError, match=r"^a\.size: too fast \(got 2\)$"):
        attempt("a", make, {"size": 2, "rate": 3.0})
    with pytest.raises(UserError, match=r"^a: never$"):
        attempt("a", refuse_all, {"one": 1, "two": 2})
    assert not recwarn.list
    assert capfd.readouterr().err == ""


def test_blocks_are_mappings():
    require_mapping("a", {})
    with pytest.raises(UserError, match=r"^a: expected a mapping of settings, got null$"):
        require_mapping("a", None)


@pytest.mark.parametrize(
    ("hint", "part"),
    [
        (float | torch.Tensor, float),
        (str | torch.Tensor | None, str | None),
        (dict[str, int] | str, dict | str),
        (tuple[float, float], Any),
        (int, int),
    ],
)
def test_only_what_a_config_can_write_is_checked(hint, part):
    assert plain_part(hint) == part


def test_names_of_parameters_and_their_annotations():
    assert list(parameters(make)) == ["size", "rate"]
    assert annotations(make) == {"size": int, "rate": float}
    assert joined("a", "b") == "a.b"
    assert joined("", "b") == "b"
