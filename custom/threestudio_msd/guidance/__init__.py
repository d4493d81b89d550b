"""Guidance modules for threestudio: importing this package registers them."""

from .msd import MSDGuidance
from .sdi import SDIGuidance
from .sds import SDSGuidance
from .vsd import VSDGuidance

__all__ = ["MSDGuidance", "SDIGuidance", "SDSGuidance", "VSDGuidance"]
