"""Efficiency of a gradient estimate: its signal against its variance and cost (Eq. 17)."""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor


def efficiency(g: Float[Tensor, "draws N ..."], nfe: float) -> float:
    """Natural logarithm of Eq. 17, in ratios of means over the places y.

    ln( mean ||E g||^2 / (mean E ||g - E g||^2 cost) ); the squared norm of the mean is
    corrected for the draws' own variance.

    Args:
        g: Two or more draws of the gradient at every y.
        nfe: Cost of one draw.

    Returns:
        Infinity for an estimate without variance; minus infinity where no signal is
        left above it.
    """
    g = g.flatten(2)
    variance = g.var(0).sum(-1)
    signal = (g.mean(0).square().sum(-1) - variance / len(g)).mean()
    return log_ratio(float(signal), float(variance.mean()) * nfe)


def log_ratio(numerator: float, denominator: float) -> float:
    """Natural logarithm of a ratio; infinite over 0, minus infinite where the numerator
    is not positive.
    """
    if numerator <= 0:
        return -math.inf
    return math.log(numerator / denominator) if denominator > 0 else math.inf
