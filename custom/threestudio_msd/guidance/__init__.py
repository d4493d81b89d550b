"""Guidance modules for threestudio: importing this package registers them."""

from .msd import MSDGuidance

__all__ = ["MSDGuidance"]
