"""Pretrained models wrapped as denoisers: parametrisations, guidance, loading."""

from .denoisers import Condition, ConditionalDenoiser, FlowDenoiser, VPDenoiser
from .guides import CFG, PerpNeg, evaluate, perpendicular
from .loading import PretrainedModel, PriorError, load_model

__all__ = [
    "CFG",
    "Condition",
    "ConditionalDenoiser",
    "FlowDenoiser",
    "PerpNeg",
    "PretrainedModel",
    "PriorError",
    "VPDenoiser",
    "evaluate",
    "load_model",
    "perpendicular",
]
