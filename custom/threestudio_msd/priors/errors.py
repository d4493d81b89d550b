"""The error of everything that concerns pretrained models."""

from __future__ import annotations

from ..errors import UserError


class PriorError(UserError):
    """A pretrained model cannot be had or cannot be used; the message says which, and what to do."""
