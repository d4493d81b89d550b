"""Solvers of the probability-flow ODE dz/dsigma = (z - D(z, sigma)) / sigma, one step
at a time.

A step is a function `(denoiser, z, sigma, sigma_next, memory, last) -> (z_next,
memory)`; `memory` is None at the first step and carries what a multistep method keeps.
Levels are 0-d or one a sample, `[B]`, `sigma > 0`; `last` says whether `sigma_next` is
0: asking the tensor would make a GPU wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from .protocols import Batch, Denoiser, Level
from .tensors import expand


class Memory(NamedTuple):
    """A multistep solver's memory of its previous step: the denoised estimate, `[B,
    ...]`, and the step's length in log sigma, 0-d or `[B]`.
    """

    denoised: Tensor
    log_step: Tensor


Step = Callable[[Denoiser, Tensor, Tensor, Tensor, Memory | None, bool], tuple[Tensor, Memory | None]]
"""A solver's step; the module's docstring has the arguments."""


def level_pairs(sigmas: Tensor) -> Iterator[tuple[Tensor, Tensor, bool]]:
    """Iterate over the steps of a descending grid of noise levels.

    Args:
        sigmas: Levels, `[steps + 1]` or `[steps + 1, B]`, the last 0.

    Yields:
        The step's first level, its last level, and whether it is the grid's last step.
    """
    left = len(sigmas) - 1
    for sigma, sigma_next in pairwise(sigmas):
        left -= 1
        yield sigma, sigma_next, left == 0


def ddim(
    denoiser: Denoiser, z: Batch, sigma: Level, sigma_next: Level, memory: Memory | None, last: bool
) -> tuple[Batch, Memory | None]:
    """Take one step of DDIM, Euler's method (Song et al. 2021): one denoiser
    evaluation.

    Args:
        denoiser: The prior's.
        z: States at `sigma`, `[B, ...]`.
        sigma: Present level, > 0.
        sigma_next: Next level.
        memory: Not used.
        last: Whether `sigma_next` is 0; not used.

    Returns:
        States at `sigma_next`, `[B, ...]`, and None.
    """
    denoised = denoiser(z, sigma)
    return torch.lerp(denoised, z, expand(sigma_next / sigma, z)), None


def heun(
    denoiser: Denoiser, z: Batch, sigma: Level, sigma_next: Level, memory: Memory | None, last: bool
) -> tuple[Batch, Memory | None]:
    """Take one step of Heun's second-order method (Karras et al. 2022, Alg. 1): two
    denoiser evaluations, one if it is the last step.

    Args:
        denoiser: The prior's.
        z: States at `sigma`, `[B, ...]`.
        sigma: Present level, > 0.
        sigma_next: Next level.
        memory: Not used.
        last: Whether `sigma_next` is 0, to which the step is Euler's.

    Returns:
        States at `sigma_next`, `[B, ...]`, and None.
    """
    slope = (z - denoiser(z, sigma)) / expand(sigma, z)
    step = expand(sigma_next - sigma, z)
    euler = z + step * slope
    if last:
        return euler, None
    slope_next = (euler - denoiser(euler, sigma_next)) / expand(sigma_next, z)
    return z + step * (slope + slope_next) / 2, None


def dpmpp_2m(
    denoiser: Denoiser, z: Batch, sigma: Level, sigma_next: Level, memory: Memory | None, last: bool
) -> tuple[Batch, Memory | None]:
    """Take one step of DPM-Solver++(2M) (Lu et al. 2022, Alg. 2): second order from one
    denoiser evaluation.

    Args:
        denoiser: The prior's.
        z: States at `sigma`, `[B, ...]`.
        sigma: Present level, > 0.
        sigma_next: Next level.
        memory: From the previous step; None at the first, which is of first order.
        last: Whether `sigma_next` is 0, to which the step is Euler's.

    Returns:
        States at `sigma_next`, `[B, ...]`, and the memory for the next step, None after
        the last.
    """
    denoised = denoiser(z, sigma)
    if last:
        return torch.lerp(denoised, z, expand(sigma_next / sigma, z)), None
    extrapolated, memory = extrapolate(denoised, sigma, sigma_next, memory)
    return torch.lerp(extrapolated, z, expand(sigma_next / sigma, z)), memory


def extrapolate(
    denoised: Batch, sigma: Level, sigma_next: Level, memory: Memory | None
) -> tuple[Batch, Memory]:
    """Extrapolate the denoised estimate to the middle of a step in log sigma, from this
    step and the previous one.

    Args:
        denoised: D at `sigma`, `[B, ...]`.
        sigma: Present level, > 0.
        sigma_next: Next level, > 0: a step to 0 has no middle in log sigma.
        memory: From the previous step; None at the first, which uses `denoised` alone.

    Returns:
        The extrapolated estimate, `[B, ...]`, and the memory for the next step.
    """
    log_step = (sigma / sigma_next).log()
    kept = Memory(denoised, log_step)
    if memory is None:
        return denoised, kept
    return denoised + expand(log_step / (2 * memory.log_step), denoised) * (denoised - memory.denoised), kept


SOLVERS: dict[str, Step] = {"ddim": ddim, "heun": heun, "dpmpp-2m": dpmpp_2m}
NFE = {"ddim": 1, "heun": 2, "dpmpp-2m": 1}
"""Denoiser evaluations a step."""


def solver_nfe(solver: str, steps: int) -> int:
    """Count the denoiser evaluations per sample of `steps` solver steps, the last of
    which ends at 0.

    Args:
        solver: `ddim` and `dpmpp-2m` take one evaluation per step; `heun` two, but one
            at its last.
        steps: Number of steps, >= 1.

    Raises:
        KeyError: There is no such solver.
    """
    return NFE[solver] * steps - (NFE[solver] - 1)


def sample(denoiser: Denoiser, z: Batch, sigmas: Tensor, solver: str = "ddim") -> Batch:
    """Integrate the probability-flow ODE from noise to clean images: unconstrained
    sampling of a prior.

    The result is differentiable: without `torch.no_grad` the graph of every evaluation
    is kept, if z or the network requires gradients.

    Args:
        denoiser: The prior's.
        z: States at `sigmas[0]`, `[B, ...]`; noise of that standard deviation samples
            the prior.
        sigmas: Descending levels, the last 0, `[steps + 1]` or `[steps + 1, B]`, as
            `karras_sigmas` makes them.
        solver: `ddim`, `heun` or `dpmpp-2m`.

    Returns:
        Clean images or latents, the states at level 0, `[B, ...]`.

    Raises:
        KeyError: There is no such solver.
    """
    step, memory = SOLVERS[solver], None
    for sigma, sigma_next, last in level_pairs(sigmas):
        z, memory = step(denoiser, z, sigma, sigma_next, memory, last)
    return z
