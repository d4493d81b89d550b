"""The weights that a config gives to losses, against the losses that there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .errors import UserError, did_you_mean
from .fields import listed


def require_weights(weights: Mapping[str, Any], guidance: type, further: Iterable[str] = ()) -> None:
    """Check that every loss of a guidance has a weight, and every weight a loss.

    Args:
        weights: `lambda_NAME` each, the block `system.loss`.
        guidance: Its classmethod `losses` gives the names; of a class without one nothing is known.
        further: Losses that a system has beside the guidance's, with a weight or without.

    Raises:
        UserError: A loss or a weight stands alone.
    """
    if not hasattr(guidance, "losses"):
        return
    needed = [f"lambda_{name}" for name in guidance.losses()]
    for name in needed:
        if name not in weights:
            raise UserError(f"system.loss.{name}: no value is given")
    known = [*needed, *(f"lambda_{name}" for name in further)]
    for name in weights:
        if name not in known:
            near = did_you_mean(name, known) or f"; known: {listed(known)}"
            raise UserError(f"system.loss.{name}: no loss has this weight{near}")
