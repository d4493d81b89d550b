"""Renderers; they register themselves."""

from . import base, nerf_volume_renderer  # noqa: F401
