"""Product samplers: draws from the product density p(x) K(x - y) / Z of a prior and a Gaussian kernel around y (Eq. 8).

Three siblings with one interface, `sampler(y, lam, prior, noise) -> Product`:

- `Split`: the paper's (Eq. 9, 12, 14, 15), whose kernel score is integrated in closed form after each solver
  step;
- `Posterior`: exact for an exact denoiser, the reverse SDE started at z = y, sigma = lambda;
- `Tweedie`: the mean itself in one call, D(y, lambda), exact for an exact denoiser.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from .inversion import Inversion, invert, ladder
from .noise import Noise
from .schedule import Schedule, karras_sigmas
from .solvers import SOLVERS, Denoiser, extrapolate, solver_calls
from .tensors import expand


@dataclass(frozen=True)
class Prior:
    """A pretrained model as the estimators see it.

    Attributes:
        denoiser: D(z, sigma), guidance included.
        schedule: The noise levels it was trained on.
        inversion: Denoiser to invert with, where its guidance differs; None stands for `denoiser`.
        phi: VSD's denoiser of the current renders' distribution; None for every other estimator.
    """

    denoiser: Denoiser
    schedule: Schedule
    inversion: Denoiser | None = None
    phi: Denoiser | None = None


class Product(NamedTuple):
    """Draws from a product density: `[B, ...]`, and the denoiser calls that one sample took."""

    x: Tensor
    calls: int


class ProductSampler(Protocol):
    """Draws one x from the product density around every y."""

    def __call__(self, y: Tensor, lam: float | Tensor, prior: Prior, noise: Noise) -> Product:
        """Draw x ~ p(x) N(x; y, lam^2) / Z for every y of `[B, ...]`; `lam` is a number or `[B]`."""


def kernel_step(z: Tensor, centre: Tensor, lam: float | Tensor, sigma: Tensor, sigma_next: Tensor) -> Tensor:
    """Integrate the kernel's score alone from `sigma` to `sigma_next`, in closed form (Eq. 14, 15).

    z = c + (z - c) exp((sigma_next^2 - sigma^2) / (2 lambda^2)); the exponent is negative, so z is drawn to
    the centre.
    """
    lam = expand(lam, z)
    return centre + (z - centre) * expand((sigma_next**2 - sigma**2), z).div(2 * lam**2).exp()


@dataclass(frozen=True)
class Split:
    """The paper's product sampler: solver step, then kernel step (Eq. 12, 15).

    Args:
        steps: Solver steps from `sigma_max` to 0.
        solver: `ddim` (the paper's), `heun` or `dpmpp-2m`.
        centre: `render`, c = y; or `inversion`, the noise-scaled centre c = y + sigma eps_inv(sigma) of
            section 4.3.
        interval: The kernel acts while sigma lies in [low, high] (section 4.3); all levels by default.
        inversion_steps: Calls spent on inverting y, for the noise-scaled centre.
        inversion_limit: See `invert`; None is plain DDIM inversion.
        sigma_max: First level; the schedule's own by default.
        rho: Spacing of the levels, see `karras_sigmas`.
    """

    steps: int = 16
    solver: str = "ddim"
    centre: str = "render"
    interval: tuple[float, float] = (0.0, float("inf"))
    inversion_steps: int = 10
    inversion_limit: float | None = 1.0
    sigma_max: float | None = None
    rho: float = 7.0

    def __post_init__(self) -> None:
        _require_choice("solver", self.solver, SOLVERS)
        _require_choice("centre", self.centre, ("render", "inversion"))

    def __call__(self, y: Tensor, lam: float | Tensor, prior: Prior, noise: Noise) -> Product:
        """Draw from the product density; see `ProductSampler`."""
        sigma_max = self.sigma_max or prior.schedule.sigma_max
        sigmas = karras_sigmas(self.steps, prior.schedule.sigma_min, sigma_max, self.rho).to(y.device)
        centres = self._centres(y, prior, sigma_max)
        step, memory = SOLVERS[self.solver], None
        z = expand(sigmas[0], y) * noise(y)
        for sigma, sigma_next in pairwise(sigmas):
            z, memory = step(prior.denoiser, z, sigma, sigma_next, memory)
            if self.interval[0] <= sigma <= self.interval[1]:
                z = kernel_step(z, centres.at(sigma_next) if centres else y, lam, sigma, sigma_next)
        inversion_calls = self.inversion_steps if centres else 0
        return Product(z, solver_calls(self.solver, self.steps) + inversion_calls)

    def _centres(self, y: Tensor, prior: Prior, sigma_max: float) -> Inversion | None:
        if self.centre == "render":
            return None
        levels = ladder(self.inversion_steps, prior.schedule.sigma_min, sigma_max, self.rho).to(y.device)
        return invert(y, prior.inversion or prior.denoiser, levels, self.inversion_limit)


@dataclass(frozen=True)
class Posterior:
    """Reverse SDE from z = y at sigma = lambda: the product density is the posterior of x given y = x + lambda n.

    A step keeps the joint law of a clean x and its noisy versions:
    z' = D + (s'/s)^2 (z - D) + s' sqrt(1 - (s'/s)^2) n. No steps are spent above lambda.

    Args:
        steps: Denoiser calls.
        order: 1, or 2 to extrapolate D within a step as DPM-Solver++(2M) does.
        start: `render`, z = y; or `inversion`, z = y + lambda eps_inv(lambda), with the noise a model finds
            in the render.
        inversion_steps: Calls spent on inverting y up to lambda, for `start="inversion"`.
        inversion_limit: See `invert`; None is plain DDIM inversion.
        rho: Spacing of the levels, see `karras_sigmas`.
    """

    steps: int = 16
    order: int = 2
    start: str = "render"
    inversion_steps: int = 4
    inversion_limit: float | None = 1.0
    rho: float = 3.0

    def __post_init__(self) -> None:
        _require_choice("order", self.order, (1, 2))
        _require_choice("start", self.start, ("render", "inversion"))

    def __call__(self, y: Tensor, lam: float | Tensor, prior: Prior, noise: Noise) -> Product:
        """Draw from the product density; see `ProductSampler`."""
        lam = torch.as_tensor(lam, dtype=torch.float32, device=y.device)
        sigmas = karras_sigmas(self.steps, prior.schedule.sigma_min, lam, self.rho)
        z, calls, memory = y, self.steps, None
        if self.start == "inversion":
            z, calls = self._inverted(y, lam, prior), self.steps + self.inversion_steps
        for sigma, sigma_next in pairwise(sigmas):
            denoised = prior.denoiser(z, sigma)
            if self.order == 2:
                denoised, memory = extrapolate(denoised, sigma, sigma_next, memory)
            ratio = (sigma_next / sigma) ** 2
            z = torch.lerp(denoised, z, expand(ratio, z))
            if bool((sigma_next > 0).any()):
                z = z + expand(sigma_next * (1 - ratio).sqrt(), z) * noise(z)
        return Product(z, calls)

    def _inverted(self, y: Tensor, lam: Tensor, prior: Prior) -> Tensor:
        levels = ladder(self.inversion_steps, prior.schedule.sigma_min, lam, self.rho)
        return invert(y, prior.inversion or prior.denoiser, levels, self.inversion_limit).states[-1]


@dataclass(frozen=True)
class Tweedie:
    """The product density's mean in one call: x' = D(y, lambda), by Tweedie's formula."""

    calls: int = field(default=1, init=False)

    def __call__(self, y: Tensor, lam: float | Tensor, prior: Prior, noise: Noise) -> Product:
        """The mean itself, no draw; see `ProductSampler`."""
        return Product(
            prior.denoiser(y, torch.as_tensor(lam, dtype=torch.float32, device=y.device)), self.calls
        )


SAMPLERS: dict[str, type] = {"split": Split, "posterior": Posterior, "tweedie": Tweedie}


def _require_choice(name: str, value: object, choices: object) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}, got {value!r}")
