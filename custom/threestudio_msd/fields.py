"""Declares, with each field of a dataclass of settings, the values that it may hold, and
checks them in one place.

Types come from the annotations; ranges and choices from `number`, `pair` and `choice`,
which make the fields:

    >>> @dataclass(frozen=True)
    ... class Sampler:
    ...     steps: int = number(8, least=1)
    >>> check_fields(Sampler, {"steps": 2.5})
    Traceback (most recent call last):
    threestudio_msd.fields.FieldError: steps: expected an integer of at least 1, got 2.5
"""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass
from functools import cache
from numbers import Real
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from .errors import UserError, did_you_mean


class FieldError(UserError, ValueError):
    """A setting cannot be used. The message is one line that begins with the setting's
    key.
    """


LARGEST = 1e30
"""Of all numbers in settings: float32 ends at 3e38, and computations need some room."""


@dataclass(frozen=True)
class Range:
    """The numbers that a setting may hold; `value in range` tests one.

    NaN is never in a range, nor is a number beyond 1e30, which float32 could not
    compute with; infinity is only with `infinite`.

    Attributes:
        least: Lower bound, itself allowed.
        above: Lower bound, itself not allowed.
        most: Upper bound, itself allowed.
        below: Upper bound, itself not allowed.
        infinite: Whether infinity is allowed.
        strict: Whether two numbers with this range must differ; else they may be equal.
    """

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    infinite: bool = False
    strict: bool = False

    WORDS: ClassVar = {"least": "of at least", "above": "above", "most": "of at most", "below": "below"}

    def __contains__(self, value: float) -> bool:
        return (
            value == value
            and (abs(value) <= LARGEST or (self.infinite and abs(value) == math.inf))
            and (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        bounds = ((word, getattr(self, name)) for name, word in self.WORDS.items())
        return " and ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)


ANY_NUMBER = Range()


def number(default: Any = MISSING, *, infinite: bool = False, **bounds: Any) -> Any:
    """Declare a dataclass's field that holds a number, for `check_fields`.

    Args:
        default: The field's default; without one the field is required.
        infinite: Whether infinity is allowed.
        **bounds: `least`, `above`, `most`, `below` and `strict`, as in `Range`.

    Returns:
        The value of `dataclasses.field`.
    """
    return dataclasses.field(default=default, metadata={"range": Range(infinite=infinite, **bounds)})


pair = number
"""A field that holds two ascending numbers; equal ones too, unless `strict=True`."""


def scheduled(default: Any = MISSING, **bounds: Any) -> Any:
    """Declare a dataclass's field that holds a number or a scheduled scalar of
    threestudio.

    A scheduled scalar is `[v0, v1, end]` or `[start, v0, v1, end, v2, end2, ...]`:
    linear between ascending steps, constant outside them.

    Args:
        default: The field's default; with None the field may be null too.
        **bounds: Bounds of every value, as in `Range`.

    Returns:
        The value of `dataclasses.field`; every instance gets its own copy of a list.
    """
    metadata = {"range": Range(**bounds), "scheduled": True, "optional": default is None}
    if isinstance(default, list):  # mutable: every instance has its own
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def choice(default: Any, options: Iterable[Any], others: Mapping[Any, Any] | None = None) -> Any:
    """Declare a dataclass's field that holds one of some options, for `check_fields`.

    Args:
        default: The field's default.
        options: Values that are allowed.
        others: Values that are refused too, but whose error suggests an option:
            `{"fp16": "float16"}` adds "did you mean 'float16'?".

    Returns:
        The value of `dataclasses.field`.
    """
    return dataclasses.field(
        default=default, metadata={"options": tuple(options), "others": dict(others or {})}
    )


class Checked:
    """Base of dataclasses whose construction raises FieldError if a field does not fit.

    The annotations and `number`, `choice` and the like declare what fits
    (`check_fields`).
    """

    def __post_init__(self) -> None:
        check_fields(self)


def check_fields(settings: Any, values: Mapping[str, Any] | None = None) -> None:
    """Check values against the annotations, ranges and choices of a dataclass's fields.

    Args:
        settings: The dataclass, or an instance of it.
        values: Values by field name; other fields are not checked. By default all of
            the instance's own.

    Raises:
        FieldError: A value does not fit its field, or the dataclass has no field of a
            name; raised for the first such value.
    """
    hints = _hints(settings if isinstance(settings, type) else type(settings))
    known = {field.name: field for field in dataclasses.fields(settings) if field.init}
    if values is None:
        values = {name: getattr(settings, name) for name in known}
    for name, value in values.items():
        if name not in known:
            raise FieldError(f"{name}: unknown key{did_you_mean(name, known)}; known: {listed(known)}")
        check_value(name, value, hints[name], known[name].metadata)


def check_value(name: str, value: Any, hint: Any, metadata: Mapping[str, Any]) -> None:
    """Check one value against an annotation and a field's metadata.

    Args:
        name: The setting's key, which the message begins with.
        value: The value, as a config holds it.
        hint: The annotation. Only numbers, text, truth values, mappings, lists, tuples
            of numbers, None and unions of these are checked.
        metadata: The field's metadata, as `number`, `choice` or `scheduled` made it.

    Raises:
        FieldError: The value does not fit.
    """
    if "scheduled" in metadata:
        if value is not None or not metadata["optional"]:
            _check_scheduled(name, metadata["range"], value)
        return
    hints = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    kinds = {kind: _kind(kind) for kind in hints}
    known = [kind for kind in kinds.values() if kind is not None]
    if len(known) < len(kinds):
        return
    options, bounds = metadata.get("options"), metadata.get("range", ANY_NUMBER)
    if options is not None:
        fits, names = type(value) in kinds and value in (*options, None), [f"one of {listed(options)}"]
    else:
        fits = any(kind.fits(value, bounds) for kind in known)
        names = [f"{kind.name} {bounds}".strip() for kind in known if kind.name != "null"]
    if not fits:
        expected = " or ".join([*names, *["null"] * (NoneType in kinds)])
        raise FieldError(f"{name}: expected {expected}, got {shown(value)}{_nearest(metadata, value)}")


def missing_fields(settings: type, values: Iterable[str]) -> list[str]:
    """List the required fields of a dataclass that got no value.

    Args:
        settings: The dataclass.
        values: Names of the fields that have one.

    Returns:
        Names of the fields without a default that are not among `values`.
    """
    required = [
        field.name
        for field in dataclasses.fields(settings)
        if field.init and field.default is MISSING and field.default_factory is MISSING
    ]
    return [name for name in required if name not in values]


def listed(names: Iterable[object]) -> str:
    """Join names for a message, each once: `a, b, c`, or `none` if there are no names."""
    return ", ".join(dict.fromkeys(map(str, names))) or "none"


def shown(value: Any) -> str:
    """Format a value as a YAML config writes it: `null`, `true`, `false`, else Python's
    repr.
    """
    return {"None": "null", "True": "true", "False": "false"}.get(repr(value), repr(value))


def _nearest(metadata: Mapping[str, Any], value: Any) -> str:
    """Suggest a correction for a refused value: the nearest option, or the greatest
    number allowed.
    """
    others = metadata.get("others", {})
    too_large = _is_number(value, float) and LARGEST < abs(value) < math.inf
    near = did_you_mean(others.get(str(value).lower(), value), metadata.get("options", ()))
    return f"; numbers are at most {LARGEST:g}" if too_large else near


def _check_scheduled(name: str, bounds: Range, value: Any) -> None:
    if not (_is_number(value, float) and value in bounds) and not _is_schedule(value, bounds):
        what = f"a number {bounds}".strip()
        raise FieldError(
            f"{name}: expected {what}, or [v0, v1, end_step] or [start_step, v0, v1, end_step, ...], "
            f"got {shown(value)}{_nearest({}, value)}"
        )


def _is_schedule(value: Any, bounds: Range) -> bool:
    """Tell whether a value is `[v0, v1, end]` or `[start, v0, v1, end, v2, step2,
    ...]`, steps ascending.
    """
    numbers = value if _is_list(value) else []
    if not all(_is_number(n, float) and n in ANY_NUMBER for n in numbers):
        return False
    numbers = [0, *numbers] if len(numbers) == 3 else list(numbers)
    if len(numbers) < 4 or len(numbers) % 2:
        return False
    values, steps = [numbers[1], *numbers[2::2]], [numbers[0], *numbers[3::2]]
    return steps == sorted(steps) and all(v in bounds for v in values)


_hints = cache(get_type_hints)
"""A class's annotations, which take long to resolve and are the same for all its
instances.
"""


class Kind(NamedTuple):
    """The properties of an annotation that `check_value` uses: its name in messages,
    and the test `fits(value, range) -> bool`.
    """

    name: str
    fits: Callable[[Any, Range], bool]


def _kind(hint: Any) -> Kind | None:
    """Describe an annotation; None for one that is not checked, as threestudio has
    some.
    """
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return Kind(listed(args), lambda value, _: isinstance(value, str) and value in args)
    if (origin is list or Ellipsis in args) and args[0] in ITEMS:
        fits = KINDS[args[0]].fits
        return Kind(
            f"a list of {ITEMS[args[0]]}",
            lambda value, bounds: _is_list(value) and all(fits(item, bounds) for item in value),
        )
    if origin is tuple and args and Ellipsis not in args:
        name = "two ascending numbers" if len(args) == 2 else f"{len(args)} numbers"
        return Kind(name, lambda value, bounds: _is_tuple(value, len(args), bounds))
    return KINDS.get(hint)


def _is_number(value: Any, kind: type) -> bool:
    return isinstance(value, int if kind is int else Real) and not isinstance(value, bool)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_tuple(value: Any, count: int, bounds: Range) -> bool:
    """Tell whether a value holds `count` numbers within bounds; two must ascend.
    NumPy's arrays count too.
    """
    if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__len__") or len(value) != count:
        return False
    numbers = all(_is_number(number, float) and number in bounds for number in value)
    allowed = operator.lt if bounds.strict else operator.le
    return numbers and (count != 2 or allowed(value[0], value[1]))


KINDS: dict[Any, Kind] = {
    int: Kind("an integer", lambda value, bounds: _is_number(value, int) and value in bounds),
    float: Kind("a number", lambda value, bounds: _is_number(value, float) and value in bounds),
    bool: Kind("true or false", lambda value, _: isinstance(value, bool)),
    str: Kind("text", lambda value, _: isinstance(value, str)),
    dict: Kind("a mapping", lambda value, _: isinstance(value, Mapping)),
    NoneType: Kind("null", lambda value, _: value is None),
}
ITEMS = {int: "integers", float: "numbers", str: "texts", bool: "truth values"}
