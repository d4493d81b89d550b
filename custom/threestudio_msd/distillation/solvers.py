"""Solvers of the probability-flow ODE dz/dsigma = (z - D(z, sigma)) / sigma, one step at a time.

A step is a function `(denoiser, z, sigma, sigma_next, memory) -> (z_next, memory)`; `memory` is None at the
first step and carries what a multistep method keeps. Levels are 0-d or one a sample, `[B]`; `sigma > 0`,
`sigma_next >= 0`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from .tensors import expand

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""D(z, sigma) = E[x | z]: from `[B, ...]` and a level (0-d or `[B]`) to `[B, ...]`."""


class Memory(NamedTuple):
    """What the previous step leaves for the next: its denoised estimate and its log-step."""

    denoised: Tensor
    log_step: Tensor


Step = Callable[[Denoiser, Tensor, Tensor, Tensor, Memory | None], tuple[Tensor, Memory | None]]


def ddim(
    denoiser: Denoiser, z: Tensor, sigma: Tensor, sigma_next: Tensor, memory: Memory | None = None
) -> tuple[Tensor, Memory | None]:
    """DDIM with eta = 0, which is Euler's method in sigma (Song et al. 2021a; Karras et al. 2022, Alg. 1)."""
    denoised = denoiser(z, sigma)
    return torch.lerp(denoised, z, expand(sigma_next / sigma, z)), None


def heun(
    denoiser: Denoiser, z: Tensor, sigma: Tensor, sigma_next: Tensor, memory: Memory | None = None
) -> tuple[Tensor, Memory | None]:
    """Heun's second-order method: two calls a step, one at the last (Karras et al. 2022, Alg. 1)."""
    slope = (z - denoiser(z, sigma)) / expand(sigma, z)
    step = expand(sigma_next - sigma, z)
    euler = z + step * slope
    if not bool((sigma_next > 0).any()):
        return euler, None
    slope_next = (euler - denoiser(euler, sigma_next)) / expand(sigma_next, z)
    return z + step * (slope + slope_next) / 2, None


def dpmpp_2m(
    denoiser: Denoiser, z: Tensor, sigma: Tensor, sigma_next: Tensor, memory: Memory | None = None
) -> tuple[Tensor, Memory | None]:
    """DPM-Solver++(2M): second order from one call a step (Lu et al. 2022, Alg. 2)."""
    denoised = denoiser(z, sigma)
    extrapolated, memory = extrapolate(denoised, sigma, sigma_next, memory)
    return torch.lerp(extrapolated, z, expand(sigma_next / sigma, z)), memory


def extrapolate(
    denoised: Tensor, sigma: Tensor, sigma_next: Tensor, memory: Memory | None
) -> tuple[Tensor, Memory | None]:
    """The denoised estimate at the middle of a step in log sigma, from this step's and the last one's.

    The first step and the step to 0 use this step's alone.
    """
    if not bool((sigma_next > 0).all()):
        return denoised, None
    log_step = (sigma / sigma_next).log()
    kept = Memory(denoised, log_step)
    if memory is None:
        return denoised, kept
    return denoised + expand(log_step / (2 * memory.log_step), denoised) * (denoised - memory.denoised), kept


SOLVERS: dict[str, Step] = {"ddim": ddim, "heun": heun, "dpmpp-2m": dpmpp_2m}
CALLS = {"ddim": 1, "heun": 2, "dpmpp-2m": 1}


def solver_calls(solver: str, steps: int) -> int:
    """Denoiser calls of `steps` steps down to 0: Heun's last step needs one only."""
    return CALLS[solver] * steps - (CALLS[solver] - 1)


def sample(denoiser: Denoiser, z: Tensor, sigmas: Tensor, solver: str = "ddim") -> Tensor:
    """Integrate the ODE along a grid: unconstrained sampling, the reference distribution.

    Args:
        denoiser: The prior.
        z: State at `sigmas[0]`, `[B, ...]`; noise of that standard deviation to sample from the prior.
        sigmas: Descending levels, `[steps + 1]` or `[steps + 1, B]`; see `karras_sigmas`.
        solver: `ddim`, `heun` or `dpmpp-2m`.

    Returns:
        State at the last level, `[B, ...]`.
    """
    step, memory = SOLVERS[solver], None
    for sigma, sigma_next in pairwise(sigmas):
        z, memory = step(denoiser, z, sigma, sigma_next, memory)
    return z
