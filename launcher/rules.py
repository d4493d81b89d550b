"""Checks of settings against what takes them: parameters, their annotations, and tables of ranges."""

import contextlib
import functools
import inspect
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, get_type_hints

from threestudio_msd.errors import UserError, did_you_mean, first_line
from threestudio_msd.fields import check_value, listed, shown

type_hints = functools.lru_cache(maxsize=None)(get_type_hints)


def require_mapping(key: str, value: Any) -> None:
    """Raise a `UserError` for what is no block of settings."""
    if not isinstance(value, Mapping):
        raise UserError(f"{key}: expected a mapping of settings, got {shown(value)}")


def check_names(key: str, settings: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raise a `UserError` for a key that is not among the known ones."""
    for name in settings:
        if name not in known:
            near = did_you_mean(name, known) or f"; known: {listed(known)}"
            raise UserError(f"{joined(key, name)}: unknown key{near}")


def refuse(key: str, settings: Mapping[str, Any], names: Iterable[str]) -> None:
    """Raise a `UserError` for a key that the launcher sets itself."""
    for name in names:
        if name in settings:
            raise UserError(f"{key}.{name}: cannot be set here: the launcher has its own")


def check_arguments(
    key: str, function: Callable[..., Any], settings: Mapping[str, Any], rules: Mapping[str, Any]
) -> None:
    """Check values against a function's annotations and ranges.

    Args:
        key: Of the settings.
        function: What takes them; or a class.
        settings: By the function's parameters.
        rules: By parameter: `number(...)`, `choice(...)` or the like; or the annotation and that.

    Raises:
        UserError: Naming the first that does not fit.
    """
    hints = annotations(function)
    for name, value in settings.items():
        rule = rules.get(name)
        hint, rule = rule if isinstance(rule, tuple) else (hints.get(name, Any), rule)
        check_value(joined(key, name), value, hint, rule.metadata if rule else {})


def attempt(key: str, make: Callable[..., Any], settings: Mapping[str, Any]) -> None:
    """Make the object that settings describe.

    Raises:
        UserError: It refuses them; named is the setting without which its complaint is another one, or none.
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
    except Exception as error:  # whatever a library raises for what it was given
        return first_line(error)
    return None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing that a trial logs or warns of is shown."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """A function's or class's parameters, by name."""
    return dict(inspect.signature(function).parameters)


def annotations(function: Callable[..., Any]) -> dict[str, Any]:
    """A function's or class's annotations, as far as they can be read."""
    try:
        return type_hints(function.__init__ if isinstance(function, type) else function)
    except NameError:  # those that only a type checker sees
        return {}


def joined(path: str, key: object) -> str:
    """The full key of what lies below a path."""
    return f"{path}.{key}" if path else str(key)
