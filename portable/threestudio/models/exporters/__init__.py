"""The base of exporters; `mesh-exporter` comes with the extension."""

from . import base  # noqa: F401
