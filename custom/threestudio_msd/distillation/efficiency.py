"""Efficiency of a gradient estimate: its signal against its variance and cost (Eq. 17)."""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor


def efficiency(g: Float[Tensor, "draws N ..."], nfe: float) -> float:
    """Compute the efficiency of a gradient estimate, the natural logarithm of Eq. 17,
    in ratios of means over the places y.

    ln( mean ||E g||^2 / (mean E ||g - E g||^2 cost) ); the squared norm of the mean is
    corrected for the draws' own variance.

    Args:
        g: Two or more draws of the gradient at each of N renders, `[draws, N, ...]`.
        nfe: Cost of one draw in denoiser evaluations.

    Returns:
        The logarithm; infinity for an estimate without variance, minus infinity if the
        corrected signal is not positive.
    """
    g = g.flatten(2)
    variance = g.var(0).sum(-1)
    signal = (g.mean(0).square().sum(-1) - variance / len(g)).mean()
    return log_ratio(float(signal), float(variance.mean()) * nfe)


def log_ratio(numerator: float, denominator: float) -> float:
    """Return the natural logarithm of numerator / denominator.

    It is minus infinity if the numerator is not positive, else infinity if the
    denominator is not.
    """
    if numerator <= 0:
        return -math.inf
    return math.log(numerator / denominator) if denominator > 0 else math.inf
