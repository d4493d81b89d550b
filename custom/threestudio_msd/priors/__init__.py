"""Pretrained models wrapped as denoisers: parametrisations, guidance, families, loading."""

from .denoisers import Condition, ConditionalDenoiser, FlowDenoiser, VPDenoiser
from .errors import PriorError
from .guides import CFG, PerpNeg, evaluate, perpendicular
from .loading import PretrainedModel, embed_prompts, load_model

__all__ = [
    "CFG",
    "Condition",
    "ConditionalDenoiser",
    "FlowDenoiser",
    "PerpNeg",
    "PretrainedModel",
    "PriorError",
    "VPDenoiser",
    "embed_prompts",
    "evaluate",
    "load_model",
    "perpendicular",
]
