"""Pretrained models wrapped as denoisers: parametrisations, guidance, loading."""

from .guides import CFG, Autoguidance, Conditional, PerpNeg, evaluate, perpendicular
from .loading import LatentPrior, PriorError, load_prior
from .networks import Condition, ConditionalDenoiser, FlowNetwork, VPNetwork

__all__ = [
    "CFG",
    "Autoguidance",
    "Condition",
    "Conditional",
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
