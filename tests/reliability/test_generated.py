"""Hypothesis drives the checker: any value for any key of a bundled config is sound, or refused in words.

Keys are those that a config writes, and the others that the classes which it names have, each once for every
class that reads it; what is sound comes from the annotations and from threestudio's rule for scheduled
scalars, not from the checker.
"""

import dataclasses
import math
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
import threestudio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from threestudio.utils.config import ExperimentConfig, schedule_knots
from threestudio_msd.guidance.keys import PARTS

from launcher import UserError
from launcher.checks.config import check_block
from launcher.checks.ranges import INFINITE
from launcher.config import leaves
from launcher.config import settings_of as fields_of

from .bundled import NAMES, check_changed, settings_of

SCHEDULED = (
    "guidance_scale",
    "guidance_scale_lora",
    "inversion_guidance_scale",
    "min_step_percent",
    "max_step_percent",
    "grad_clip",
)
LIGHTNINGS = ("trainer.", "checkpoint.", "system.optimizer.", "system.scheduler.")
"""Whose classes decide what they take, such as null or a word where a config has a number."""
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
NUMBERS = st.one_of(st.integers(-3, 300), st.floats(), st.booleans())
VALUES = st.one_of(
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    ),
    st.lists(NUMBERS, min_size=2, max_size=6),  # what may pass for a scheduled scalar or a range
)


def classes(config: str) -> dict[str, type]:
    """The dataclasses that a config's blocks are read by, by full key; of the experiment itself, ``."""
    plain = settings_of(config)
    found = {key: fields_of(cls) for key, cls in check_block("", ExperimentConfig, plain, threestudio)}
    guidance = plain["system"].get("guidance", {})
    parts = {part: kinds[guidance[part]["type"]] for part, kinds in PARTS.items() if part in guidance}
    return {"": ExperimentConfig, **found, **{f"system.guidance.{part}": cls for part, cls in parts.items()}}


def annotations(config: str) -> dict[str, Any]:
    """The annotations of all settings that those have, written in the config or not, by full key."""
    hints = {}
    for block, fields in CLASSES[config].items():
        own = get_type_hints(fields)
        names = [field.name for field in dataclasses.fields(fields) if field.init]
        inner = [name for name in names if f"{name}_type" in own or f"{block}.{name}" in CLASSES[config]]
        hints |= {f"{block}.{name}".strip("."): own[name] for name in names if name not in inner}
    return hints


CLASSES = {config: classes(config) for config in NAMES}
HINTS = {config: annotations(config) for config in NAMES}


def owner(config: str, key: str) -> type:
    """The dataclass that a key is read by."""
    block = key
    while block not in CLASSES[config]:
        block = block.rpartition(".")[0]
    return CLASSES[config][block]


def keys() -> list[tuple[str, str]]:
    """Every key that some config writes or that a class which it names has, once for every such class."""
    found = {}
    for config in NAMES:
        written = [key for key, _ in leaves(settings_of(config))]
        for key in dict.fromkeys([*written, *HINTS[config]]):
            if not key.endswith("_type"):
                found.setdefault((key, owner(config, key)), (config, key))
    return list(found.values())


KEYS = keys()


def numbers(value: Any) -> list[float]:
    """All floats in a value."""
    if isinstance(value, dict):
        return [n for item in value.values() for n in numbers(item)]
    if isinstance(value, (list, tuple)):
        return [n for item in value for n in numbers(item)]
    return [value] * isinstance(value, float)


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotation's type, as a config means it."""
    if get_origin(hint) in (Union, UnionType):
        return any(fits(value, kind) for kind in get_args(hint))
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_origin(hint) is tuple:
        kinds = get_args(hint)
        sized = isinstance(value, (list, tuple)) and len(value) == len(kinds)
        return sized and all(map(fits, value, kinds))
    if get_origin(hint) in (list, dict):
        return isinstance(value, get_origin(hint))
    if hint in (int, float):
        kinds = (int,) if hint is int else (int, float)
        return isinstance(value, kinds) and not isinstance(value, bool)
    return hint is Any or isinstance(value, hint)


def is_schedule(value: Any) -> bool:
    """Whether threestudio takes a value as a scheduled scalar."""
    try:
        schedule_knots(value)
    except ValueError:
        return False
    return True


def kind_of(config: str, key: str) -> Any:
    """The type of a bundled value that no dataclass annotates, as of tinycudann's encodings and networks."""
    value = dict(leaves(settings_of(config))).get(key)
    return Any if value is None else float if isinstance(value, float) else type(value)


def is_sound(config: str, key: str, value: Any) -> bool:
    """Whether a value may be accepted."""
    name, hint = key.rpartition(".")[2], HINTS[config].get(key) or kind_of(config, key)
    finite = all(math.isfinite(n) or (math.isinf(n) and name in INFINITE) for n in numbers(value))
    if not finite or key.startswith(LIGHTNINGS):
        return finite
    if name in SCHEDULED or name.startswith("lambda_"):
        optional = name in ("guidance_scale", "grad_clip") and value is None
        return optional or is_schedule(value)
    return fits(value, hint)


def refused_or_sound(config: str, key: str, value: Any) -> None:
    """Check that a value is refused in one line, or is of the right type and finite."""
    try:
        check_changed(config, key, value)
    except UserError as error:
        assert "\n" not in str(error)
        return
    assert is_sound(config, key, value), (config, key, value)


def test_soundness_is_not_the_checkers_own():
    scale, steps = "system.guidance.guidance_scale", "system.guidance.sampler.steps"
    assert is_sound("msd-tiny", scale, [0, 1.0, 2.0, 10]) and not is_sound("msd-tiny", scale, [1.0, 2.0])
    assert is_sound("msd-tiny", steps, 3) and not is_sound("msd-tiny", steps, True)
    assert not is_sound("msd-tiny", "system.loss.lambda_msd", math.nan)
    assert len(KEYS) > 300


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(where=st.sampled_from(KEYS), value=VALUES)
def test_some_values_of_some_keys(where, value):
    refused_or_sound(*where, value)


@pytest.mark.slow
@pytest.mark.parametrize(("config", "key"), KEYS)
def test_values_of_every_key(config, key):
    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
    @given(value=VALUES)
    def driven(value):
        refused_or_sound(config, key, value)

    driven()
