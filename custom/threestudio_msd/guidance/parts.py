"""Building of parts from configs: `{type: posterior, steps: 8}` to `Posterior(steps=8)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ..errors import did_you_mean
from ..fields import FieldError, check_fields, listed, missing_fields

Part = TypeVar("Part")


def build_part(kinds: Mapping[str, type[Part]], spec: Any, what: str) -> Part:
    """Build the dataclass that `spec["type"]` names from the spec's other keys.

    Args:
        kinds: Dataclasses by type name.
        spec: A config's block; lists become tuples.
        what: The block's name, for messages.

    Raises:
        FieldError: For a block that is no mapping, a missing or unknown type, an unknown or missing key, or a
            value that its field does not take; the message begins with the key, `what.key`.

    Example:
        >>> from threestudio_msd.distillation import SAMPLERS
        >>> build_part(SAMPLERS, {"type": "posterior", "steps": 4}, "sampler").steps
        4
    """
    if not isinstance(spec, Mapping):
        raise FieldError(f"{what}: expected a mapping with a type, one of {listed(kinds)}, got {spec!r}")
    settings = {str(key): as_tuple(value) for key, value in spec.items()}
    kind = settings.pop("type", None)
    if not isinstance(kind, str) or kind not in kinds:
        raise FieldError(
            f"{what}.type: expected one of {listed(kinds)}, got {kind!r}{did_you_mean(kind, kinds)}"
            if kind is not None
            else f"{what}.type: expected one of {listed(kinds)}, got none"
        )
    try:
        check_fields(kinds[kind], settings)
        for name in missing_fields(kinds[kind], settings):
            raise FieldError(f"{name}: no value is given")
        return kinds[kind](**settings)
    except FieldError as error:
        raise FieldError(f"{what}.{error}") from error


def as_tuple(value: Any) -> Any:
    """A config's list as a tuple; anything else as it is."""
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
