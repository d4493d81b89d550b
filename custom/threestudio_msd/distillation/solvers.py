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
    """A multistep method's memory: the previous step's denoised estimate and length in
    log sigma.
    """

    denoised: Tensor
    log_step: Tensor


Step = Callable[[Denoiser, Tensor, Tensor, Tensor, Memory | None, bool], tuple[Tensor, Memory | None]]
"""A solver's step; the module's docstring has the arguments."""


def level_pairs(sigmas: Tensor) -> Iterator[tuple[Tensor, Tensor, bool]]:
    """Iterate over a descending grid that ends at 0: level, next level, whether it is
    the last.
    """
    left = len(sigmas) - 1
    for sigma, sigma_next in pairwise(sigmas):
        left -= 1
        yield sigma, sigma_next, left == 0


def ddim(
    denoiser: Denoiser, z: Batch, sigma: Level, sigma_next: Level, memory: Memory | None, last: bool
) -> tuple[Batch, Memory | None]:
    """DDIM with eta = 0, which is Euler's method in sigma (Song et al. 2021a; Karras et
    al. 2022, Alg. 1).
    """
    denoised = denoiser(z, sigma)
    return torch.lerp(denoised, z, expand(sigma_next / sigma, z)), None


def heun(
    denoiser: Denoiser, z: Batch, sigma: Level, sigma_next: Level, memory: Memory | None, last: bool
) -> tuple[Batch, Memory | None]:
    """Heun's second-order method: two evaluations a step, one at the last (Karras et
    al. 2022, Alg. 1).
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
    """DPM-Solver++(2M): second order from one evaluation a step (Lu et al. 2022, Alg.
    2).
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
    step and the last.

    The first step uses its own estimate alone. The step to 0 has no middle.
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
    """Count the denoiser evaluations of `steps` steps down to 0: Heun's last step needs
    only one.
    """
    return NFE[solver] * steps - (NFE[solver] - 1)


def sample(denoiser: Denoiser, z: Batch, sigmas: Tensor, solver: str = "ddim") -> Batch:
    """Integrate the ODE along a grid: unconstrained sampling, the reference
    distribution.

    The result is differentiable: without `torch.no_grad` the graph of every evaluation
    is kept, if z or the network requires gradients.

    Args:
        denoiser: The prior.
        z: State at `sigmas[0]`, `[B, ...]`; noise of that standard deviation to sample
            from the prior.
        sigmas: Descending levels, the last 0, `[steps + 1]` or `[steps + 1, B]`; see
            `karras_sigmas`.
        solver: `ddim`, `heun` or `dpmpp-2m`.

    Returns:
        State at the last level, `[B, ...]`.
    """
    step, memory = SOLVERS[solver], None
    for sigma, sigma_next, last in level_pairs(sigmas):
        z, memory = step(denoiser, z, sigma, sigma_next, memory, last)
    return z
