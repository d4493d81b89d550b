"""The tables of ranges: every name is one that threestudio has, and a value out of range is refused."""

import contextlib
import dataclasses

import pytest
import threestudio
from threestudio_msd.fields import FieldError, check_value

from launcher import UserError
from launcher.checks.ranges import INFINITE, NETWORKS, RANGES
from launcher.config import settings_of


def names_of_settings():
    """The settings of everything that is registered, and of the parts that configs name by type."""
    from threestudio_msd.distillation import SAMPLERS, SCHEDULES

    kinds = [*SAMPLERS.values(), *SCHEDULES.values()]
    for cls in threestudio.__modules__.values():
        with contextlib.suppress(UserError):  # a mixin has no settings of its own
            kinds.append(settings_of(cls))
    return {field.name for kind in kinds for field in dataclasses.fields(kind)}


def test_no_range_is_of_a_setting_that_nothing_has():
    assert {*RANGES, *INFINITE} <= names_of_settings()


@pytest.mark.parametrize(
    ("name", "hint", "value"),
    [
        ("fovy_range", tuple[float, float], (0, 70)),
        ("elevation_range", tuple[float, float], (10, -10)),
        ("eval_height", int, 0),
        ("random_aug_prob", float, 1.5),
        ("guidance_scale", float, [1, 2]),
        ("context_type", str, "vulkan"),
    ],
)
def test_a_value_out_of_its_range_is_refused(name, hint, value):
    with pytest.raises(FieldError, match=f"^{name}: expected"):
        check_value(name, value, hint, RANGES[name])


def test_settings_of_networks_have_types_too():
    check_value("n_levels", 16, *NETWORKS["n_levels"])
    with pytest.raises(
        FieldError, match=r"^log2_hashmap_size: expected an integer of at least 1 and of at most 30"
    ):
        check_value("log2_hashmap_size", 31, *NETWORKS["log2_hashmap_size"])
