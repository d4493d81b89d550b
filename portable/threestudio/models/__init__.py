"""Models that register themselves."""

from . import prompt_processors  # noqa: F401
