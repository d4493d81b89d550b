"""Hypothesis drives the checker: any value for any key of a bundled config is sound, or refused in words."""

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher import UserError
from launcher.config import leaves
from launcher.ranges import INFINITE

from .bundled import NAMES, check_changed, settings_of

KEYS = [(config, key) for config in NAMES for key, _ in leaves(settings_of(config))]
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
)
SCHEDULED = (
    "guidance_scale",
    "guidance_scale_lora",
    "inversion_guidance_scale",
    "min_step_percent",
    "max_step_percent",
)
LIGHTNINGS = ("trainer.", "checkpoint.", "system.optimizer.", "system.scheduler.")
"""Whose classes decide what they take beside the bundled kinds, such as null or a word."""


def numbers(value: Any) -> list[float]:
    """All floats in a value."""
    if isinstance(value, dict):
        return [n for item in value.values() for n in numbers(item)]
    return (
        [n for item in value for n in numbers(item)]
        if isinstance(value, list)
        else [value] * isinstance(value, float)
    )


def kind(value: Any) -> type:
    return float if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value)


def refused_or_sound(config: str, key: str, value: Any) -> None:
    """Check that a value is refused in one line, or has the bundled value's kind and is finite."""
    try:
        check_changed(config, key, value)
    except UserError as error:
        assert "\n" not in str(error)
        return
    name = key.rpartition(".")[2]
    assert not any(math.isnan(n) or (math.isinf(n) and name not in INFINITE) for n in numbers(value)), (
        key,
        value,
    )
    bundled = dict(leaves(settings_of(config)))[key]
    others = [list, float] * (name in SCHEDULED or name.startswith("lambda_"))
    if value is not None and bundled is not None and not key.startswith(LIGHTNINGS):
        assert kind(value) in (kind(bundled), *others), (key, value)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(where=st.sampled_from(KEYS), value=VALUES)
def test_some_values_of_some_keys(where, value):
    refused_or_sound(*where, value)


@pytest.mark.slow
@pytest.mark.parametrize(("config", "key"), KEYS)
def test_values_of_every_key(config, key):
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(value=VALUES)
    def driven(value):
        refused_or_sound(config, key, value)

    driven()
