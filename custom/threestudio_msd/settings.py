"""Settings as parts: `{type: posterior, steps: 8}` becomes `Posterior(steps=8)`, once
for equal blocks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from .errors import did_you_mean
from .fields import FieldError, check_fields, listed, missing_fields

Part = TypeVar("Part")
Result = TypeVar("Result")


def once(function: Callable[..., Result]) -> Callable[..., Result]:
    """Wrap a pure function so that calls with equal arguments share one result.

    A config is read when it is checked and when its run is built; both get the same
    object, which nobody may change.

    Args:
        function: Its arguments are classes, compared by identity, and plain data,
            compared by repr.

    Returns:
        The wrapped function; it takes positional arguments only.

    Example:
        >>> doubled = once(lambda numbers: [2 * number for number in numbers])
        >>> doubled([1, 2]) is doubled([1, 2])
        True
    """
    known: dict[tuple[Any, ...], Result] = {}

    @functools.wraps(function)
    def remembered(*arguments: Any) -> Result:
        key = tuple(value if isinstance(value, type) else repr(value) for value in arguments)
        if key not in known:
            known[key] = function(*arguments)
        return known[key]

    return remembered


@once
def _made(kind: type[Part], settings: Mapping[str, Any]) -> Part:
    return kind(**settings)


def build_part(kinds: Mapping[str, type[Part]], spec: Any, what: str) -> Part:
    """Build the frozen dataclass that `spec["type"]` names, from the other keys of
    `spec`.

    Args:
        kinds: Dataclasses by type name.
        spec: A config's block; lists become tuples.
        what: The block's name, for messages.

    Returns:
        The part; equal blocks share one.

    Raises:
        FieldError: The block is no mapping, its type is missing or unknown, a key is
            unknown or missing, or a value does not fit its field; the message begins
            with the key, `what.key`.

    Example:
        >>> from threestudio_msd.distillation import SAMPLERS
        >>> build_part(SAMPLERS, {"type": "posterior", "steps": 4}, "sampler").steps
        4
    """
    if not isinstance(spec, Mapping):
        raise FieldError(f"{what}: expected a mapping with a type, one of {listed(kinds)}, got {spec!r}")
    settings = {str(key): as_tuple(value) for key, value in spec.items()}
    name = settings.pop("type", None)
    if not isinstance(name, str) or name not in kinds:
        got = "none" if name is None else f"{name!r}{did_you_mean(name, kinds)}"
        raise FieldError(f"{what}.type: expected one of {listed(kinds)}, got {got}")
    try:
        check_fields(kinds[name], settings)
        for missing in missing_fields(kinds[name], settings):
            raise FieldError(f"{missing}: no value is given")
        return _made(kinds[name], settings)
    except FieldError as error:
        raise FieldError(f"{what}.{error}") from error


def as_tuple(value: Any) -> Any:
    """Convert a list to a tuple; return any other value, text included, unchanged."""
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
