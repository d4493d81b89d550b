"""Checks of settings against names, annotations and ranges, and by trial."""

import contextlib
import functools
import inspect
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import reduce
from operator import or_
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from threestudio_msd.errors import UserError, did_you_mean, first_line
from threestudio_msd.fields import check_value, listed, shown

type_hints = functools.lru_cache(maxsize=None)(get_type_hints)
PLAIN = (bool, int, float, str, dict, type(None))  # the types of a config's values, but for lists


def require_mapping(key: str, value: Any) -> None:
    """Raises a `UserError` for a value that is no block of settings."""
    if not isinstance(value, Mapping):
        raise UserError(f"{key}: expected a mapping of settings, got {shown(value)}")


def check_names(key: str, settings: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raises a `UserError` for a key that is not among the known ones."""
    for name in settings:
        if name not in known:
            near = did_you_mean(name, known) or f"; known: {listed(known)}"
            raise UserError(f"{joined(key, name)}: unknown key{near}")


def check_arguments(
    key: str, function: Callable[..., Any], settings: Mapping[str, Any], rules: Mapping[str, Any]
) -> None:
    """Checks values against a function's annotations and ranges.

    Args:
        key: The full key of the settings.
        function: The function or class that takes them.
        settings: Values by parameter.
        rules: `number(...)`, `choice(...)` or the like by parameter; or a pair, the annotation and that.

    Raises:
        UserError: A value does not fit; the message names the first.
    """
    hints = annotations(function)
    for name, value in settings.items():
        rule = rules.get(name)
        hint, rule = rule if isinstance(rule, tuple) else (plain_part(hints.get(name, Any)), rule)
        check_value(joined(key, name), value, hint, rule.metadata if rule else {})


def attempt(key: str, make: Callable[..., Any], settings: Mapping[str, Any]) -> None:
    """Makes the object that the settings describe.

    Raises:
        UserError: It refuses them. The message names the setting whose removal changes the error.
    """
    found = _complaint(make, settings)
    if found is None:
        return
    for name, value in settings.items():
        if _complaint(make, {k: v for k, v in settings.items() if k != name}) != found:
            raise UserError(f"{key}.{name}: {found} (got {shown(value)})")
    raise UserError(f"{key}: {found}")


def _complaint(make: Callable[..., Any], settings: Mapping[str, Any]) -> str | None:
    try:
        with _quiet():
            make(**settings)
    except Exception as error:  # libraries raise anything
        return first_line(error)
    return None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(function).parameters)


def annotations(function: Callable[..., Any]) -> dict[str, Any]:
    """Returns the annotations of a function or class, or none if they cannot be evaluated."""
    try:
        return type_hints(function.__init__ if isinstance(function, type) else function)
    except NameError:  # names that only a type checker imports
        return {}


def plain_part(hint: Any) -> Any:
    """Returns the alternatives of a union that a config can write; a trial checks tuples, such as betas.

    Example:
        >>> plain_part(float | torch.Tensor)
        <class 'float'>
    """
    if get_origin(hint) is tuple:
        return Any
    alternatives = get_args(hint) if get_origin(hint) in (Union, type(int | str)) else ()
    kinds = [get_origin(kind) if get_origin(kind) is dict else kind for kind in alternatives]
    plain = [kind for kind in kinds if kind in PLAIN or get_origin(kind) in (list, Literal)]
    return reduce(or_, plain) if plain else hint


def joined(path: str, key: object) -> str:
    """Returns the full key of a setting below a path."""
    return f"{path}.{key}" if path else str(key)
