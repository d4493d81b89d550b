"""Pretrained models wrapped as denoisers: parametrisations, guidance, loading."""

from .guides import CFG, PerpNeg, evaluate, perpendicular
from .loading import LatentPrior, PriorError, load_prior
from .networks import Condition, ConditionalDenoiser, FlowNetwork, VPNetwork

__all__ = [
    "CFG",
    "Condition",
    "ConditionalDenoiser",
    "FlowNetwork",
    "LatentPrior",
    "PerpNeg",
    "PriorError",
    "VPNetwork",
    "evaluate",
    "load_prior",
    "perpendicular",
]
