"""Exporters; they register themselves."""

from . import base, mesh_exporter  # noqa: F401
