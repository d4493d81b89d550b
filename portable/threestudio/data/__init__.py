"""Data modules; they register themselves."""

from . import uncond  # noqa: F401
