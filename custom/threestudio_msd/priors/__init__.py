"""Pretrained models wrapped as denoisers: parametrisations, guidance, families, loading."""

from . import families  # noqa: F401  (fills the table)
from .denoisers import Condition, ConditionalDenoiser, FlowDenoiser, VPDenoiser
from .errors import PriorError, named
from .family import FAMILIES, Family, Parts
from .guides import CFG, PerpNeg, evaluate, perpendicular
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
