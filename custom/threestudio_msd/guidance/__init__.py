"""Guidance modules, and a prompt processor, for threestudio: importing this package
registers them.
"""

from .csd import CSDGuidance
from .ism import ISMGuidance
from .msd import MSDGuidance
from .prompts import PipelinePromptProcessor
from .sdi import SDIGuidance
from .sds import SDSGuidance
from .vsd import VSDGuidance

__all__ = [
    "CSDGuidance",
    "ISMGuidance",
    "MSDGuidance",
    "PipelinePromptProcessor",
    "SDIGuidance",
    "SDSGuidance",
    "VSDGuidance",
]
