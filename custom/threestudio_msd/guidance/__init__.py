"""Guidance modules, and a prompt processor, for threestudio: importing this package
registers them.
"""

from .msd import MSDGuidance
from .prompts import PipelinePromptProcessor
from .timed import CSDGuidance, ISMGuidance, SDIGuidance, SDSGuidance
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
