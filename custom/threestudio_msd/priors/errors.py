"""The error that every problem with a pretrained model raises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import UserError


class PriorError(UserError):
    """A pretrained model cannot be found or used; the message names the model and what
    to do.
    """


@contextmanager
def named(where: str) -> Iterator[None]:
    """Prefix the message of a PriorError raised inside a `with` block: `WHERE:
    MESSAGE`.

    Args:
        where: The model, file or key that the error is about.

    Raises:
        PriorError: With the prefix, if the block raises one; other exceptions pass
            unchanged.
    """
    try:
        yield
    except PriorError as error:
        raise PriorError(f"{where}: {error}") from error
