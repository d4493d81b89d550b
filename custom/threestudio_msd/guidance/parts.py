"""Building of parts from configs: `{type: posterior, steps: 8}` to `Posterior(steps=8)`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

Part = TypeVar("Part")


def build_part(kinds: Mapping[str, type[Part]], spec: Mapping[str, Any], what: str) -> Part:
    """Build the dataclass that `spec["type"]` names from the spec's other keys.

    Args:
        kinds: Dataclasses by type name.
        spec: A config's block; lists become tuples.
        what: The block's name, for messages.

    Raises:
        ValueError: For a missing or unknown type, an unknown or missing key, or a value the part refuses.

    Example:
        >>> from threestudio_msd.distillation import SAMPLERS
        >>> build_part(SAMPLERS, {"type": "posterior", "steps": 4}, "sampler").steps
        4
    """
    settings = {str(key): tuple(value) if isinstance(value, list) else value for key, value in spec.items()}
    kind = settings.pop("type", None)
    if kind is None:
        raise ValueError(f"{what}.type is missing: expected one of {', '.join(kinds)}")
    if kind not in kinds:
        raise ValueError(
            f"{what}.type: unknown {kind!r}{suggestion(str(kind), kinds)}; expected one of {', '.join(kinds)}"
        )
    known = [field.name for field in fields(kinds[kind]) if field.init and field.name != "state"]
    for key in settings:
        if key not in known:
            raise ValueError(
                f"{what}.{key}: {kind} has no such key{suggestion(key, known)}; it has {', '.join(known)}"
            )
    try:
        return kinds[kind](**settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what}: {error}") from error


def suggestion(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for the nearest known word, or nothing."""
    nearest = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {nearest[0]!r}?)" if nearest else ""


def require_time_range(low: float, high: float) -> tuple[float, float]:
    """The range of diffusion times `(low, high)`, once checked.

    Raises:
        ValueError: If it is empty or leaves [0, 1].
    """
    if not 0 <= low <= high <= 1:
        raise ValueError(
            f"min_step_percent and max_step_percent must satisfy 0 <= min <= max <= 1, got {low} and {high}"
        )
    return low, high
