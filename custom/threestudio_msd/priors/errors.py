"""The error of everything that concerns pretrained models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import UserError


class PriorError(UserError):
    """A pretrained model cannot be had or cannot be used; the message says which, and what to do."""


@contextmanager
def named(where: str) -> Iterator[None]:
    """Put the name of what is wrong before the message."""
    try:
        yield
    except PriorError as error:
        raise PriorError(f"{where}: {error}") from error
