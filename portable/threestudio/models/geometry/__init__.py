"""Geometries; they register themselves."""

from . import base, implicit_volume, volume_grid  # noqa: F401
