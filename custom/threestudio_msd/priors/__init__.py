"""Pretrained models wrapped as denoisers: parametrisations, guidance, families,
loading.
"""

from .cfg import CFG, PerpNeg, evaluate, perpendicular
from .denoisers import Condition, ConditionalDenoiser, FlowDenoiser, VPDenoiser
from .errors import PriorError, named
from .family import FAMILIES, Family, Parts
from .loading import PretrainedModel, embed_prompts, load_model

__all__ = [
    "CFG",
    "FAMILIES",
    "Condition",
    "ConditionalDenoiser",
    "Family",
    "FlowDenoiser",
    "Parts",
    "PerpNeg",
    "PretrainedModel",
    "PriorError",
    "VPDenoiser",
    "embed_prompts",
    "evaluate",
    "load_model",
    "named",
    "perpendicular",
]
