"""The power-function average of weights over a training.

Karras et al. 2024, "Analyzing and Improving the Training Dynamics of Diffusion Models".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


@torch.no_grad()
def power_average(
    average: Sequence[Tensor], values: Iterable[Tensor], step: int, gamma: float | None
) -> None:
    """Takes one step's values into their average, in place (eq. 123: the average keeps ``(1 - 1/t)^(gamma +
    1)``).

    The average of t values weighs the value of step i by about ``i^gamma``: no start to be forgotten, and a
    memory that grows with the run.

    Args:
        average: The averages, any shapes; what the first step finds in them is overwritten.
        values: The values of this step, of the same shapes in the same order.
        step: Counted from 1.
        gamma: The exponent, at least 0; ``None`` keeps no average: the average is the last value.

    Raises:
        ValueError: If `step` is not positive or `gamma` is negative.
    """
    if step < 1:
        raise ValueError(f"step is counted from 1, not {step}")
    if gamma is not None and gamma < 0:
        raise ValueError(f"gamma must be at least 0, not {gamma}")
    keep = 0.0 if gamma is None else (1 - 1 / step) ** (gamma + 1)
    torch._foreach_lerp_(list(average), [value.detach() for value in values], 1 - keep)
