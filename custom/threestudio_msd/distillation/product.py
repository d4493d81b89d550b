"""Product samplers: draws from the product p(x) K(x - y) / Z of a prior and a kernel
around y (Eq. 8).

Four siblings with one interface, `sampler(y, lam, prior, noise) -> Product`:

- `Split`: the paper's (Eq. 9, 12, 14, 15), whose kernel score is integrated in closed
  form after each solver step;
- `Posterior`: exact for an exact denoiser, the reverse SDE started at z = y, sigma =
  lambda;
- `ExactScore`: exact too, the probability-flow ODE under the product's own score;
- `Tweedie`: the mean itself in one evaluation, D(y, lambda), exact for an exact
  denoiser.

`Posterior` and `Tweedie` may start from noise, z = y + lambda n: networks were trained
on noisy inputs alone, and of a clean y they make other colours and sizes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from ..fields import Checked, FieldError, choice, number, pair
from .inversion import Inversion, invert, ladder
from .protocols import Batch, Denoiser, Level, Noise, Prior, Product, ProductSampler, Schedule
from .schedule import karras_sigmas
from .solvers import SOLVERS, extrapolate, level_pairs, sample, solver_nfe
from .tensors import expand, on_device

MOST_STEPS = 10_000
"""Far more than any solver needs."""
FIRST_LEVEL = 80.0
"""Where solvers begin unless told otherwise: above, data of a deviation about 1 is
noise (Karras et al. 2022), while the levels of flows and of models with zero terminal
SNR go on to thousands, where a solver's steps would do nothing."""
FORGOTTEN, KEPT = 1e-3, 0.1
"""A first pull that leaves less of the state leaves draws no noise; one that leaves
enough."""


def kernel_step(z: Batch, centre: Batch, lam: float | Level, sigma: Level, sigma_next: Level) -> Batch:
    """Move states along the Gaussian kernel's score alone, from level `sigma` to
    `sigma_next`, in closed form (Eq. 14, 15).

    Args:
        z: States at `sigma`, `[B, ...]`.
        centre: The kernel's centres c, `[B, ...]`.
        lam: The kernel's bandwidth, a number, 0-d or `[B]`.
        sigma: Present level.
        sigma_next: Next level, less than `sigma`.

    Returns:
        c + (z - c) exp((sigma_next^2 - sigma^2) / (2 lambda^2)), `[B, ...]`; the
        exponent is negative, so z is drawn to c.
    """
    lam = expand(lam, z)
    return centre + (z - centre) * expand((sigma_next**2 - sigma**2), z).div(2 * lam**2).exp()


def require_acting(sampler: Any, schedule: Schedule) -> None:
    """Check that a product sampler's kernel acts at some noise level of a model; else
    the bandwidth would have no effect.

    Args:
        sampler: A product sampler; one whose levels follow the bandwidth always passes.
        schedule: The model's noise levels.

    Raises:
        FieldError: None of the sampler's levels lies in its `kernel_interval`.
    """
    sampled = sampler.levels(schedule) if hasattr(sampler, "levels") else None
    if sampled is None:
        return  # its levels follow the bandwidth
    levels, (low, high) = sampled[:-1], sampler.kernel_interval
    if not ((low <= levels) & (levels <= high)).any():
        raise FieldError(
            f"kernel_interval: expected one that holds some of the sampler's {len(levels)} noise levels, "
            f"which go from {levels[0]:.3g} to {levels[-1]:.3g}, got {[low, high]}"
        )


def first_level(sigma_max: float | None, schedule: Schedule) -> float:
    """Return the noise level that a solver begins at: `sigma_max`, or for None the
    schedule's greatest, but at most 80.
    """
    return sigma_max or min(schedule.sigma_max, FIRST_LEVEL)


def first_acting(weights: torch.Tensor, levels: torch.Tensor, interval: tuple[float, float]) -> float:
    """Return the weight at the first level where the kernel acts; 1 if it acts at none.

    Args:
        weights: One weight per level, `[N]`.
        levels: Descending noise levels, `[N]`.
        interval: Least and greatest level at which the kernel acts.
    """
    acting = weights[(interval[0] <= levels) & (levels <= interval[1])]
    return float(acting[0]) if len(acting) else 1.0


@dataclass(frozen=True)
class Split(Checked):
    """The paper's product sampler: alternates a solver step of the prior's ODE and a
    kernel step towards the centre c (Eq. 12, 15).

    A call returns one draw per y, `[B, ...]`, after `steps` evaluations (one less than
    twice as many for `heun`), and `inversion_steps` more for the centre `inversion`.

    Args:
        steps: Solver steps from `sigma_max` to 0.
        solver: `ddim` (the paper's), `heun` or `dpmpp-2m`.
        centre: `render`, c = y; or `inversion`, the noise-scaled centre c = y + sigma
            eps_inv(sigma) of section 4.3.
        kernel_interval: The kernel acts while sigma lies in [low, high] (section 4.3);
            at all levels by default.
        inversion_steps: Evaluations spent on the DDIM inversion of y, for the
            noise-scaled centre.
        inversion_limit: Greatest root mean square of the noise estimates in that
            inversion; None is plain DDIM inversion.
        sigma_max: First noise level; None is the schedule's greatest, but at most 80.
        rho: Spacing of the levels: 7 crowds them at low noise; 1 spaces them evenly.

    Raises:
        FieldError: A setting is out of range.
    """

    steps: int = number(16, least=1, most=MOST_STEPS)
    solver: str = choice("ddim", SOLVERS)
    centre: str = choice("render", ("render", "inversion"))
    kernel_interval: tuple[float, float] = pair((0.0, float("inf")), least=0, infinite=True, strict=True)
    inversion_steps: int = number(10, least=1, most=MOST_STEPS)
    inversion_limit: float | None = number(1.0, above=0)
    sigma_max: float | None = number(None, least=1e-3, most=1e4)
    rho: float = number(7.0, least=0.1, most=100)

    @torch.no_grad()
    def __call__(self, y: Batch, lam: float | Level, prior: Prior, noise: Noise) -> Product:
        levels = self.levels(prior.schedule)
        low, high = self.kernel_interval
        acts = [low <= level <= high for level in levels.tolist()]
        sigmas, lam = on_device(levels, y.device), on_device(lam, y.device)
        centres = self._centres(y, prior)
        step, memory = SOLVERS[self.solver], None
        z = expand(sigmas[0], y) * noise(y)
        for acting, (sigma, sigma_next, last) in zip(acts, level_pairs(sigmas), strict=False):
            z, memory = step(prior.denoiser, z, sigma, sigma_next, memory, last)
            if acting:
                z = kernel_step(z, centres.at(sigma_next) if centres else y, lam, sigma, sigma_next)
        return Product(z, solver_nfe(self.solver, self.steps) + (self.inversion_steps if centres else 0))

    def levels(self, schedule: Schedule) -> torch.Tensor:
        """Return the solver's descending noise levels for a model, `[steps + 1]`, the
        last 0.
        """
        return karras_sigmas(self.steps, schedule.sigma_min, first_level(self.sigma_max, schedule), self.rho)

    def first_pull(self, schedule: Schedule, lam: float) -> float:
        """Return the weight of the state in the first kernel step, in [0, 1]; 1 if the
        kernel never acts.

        Near 0, the step replaces the state by the centre, and all draws are alike.

        Args:
            schedule: The model's noise levels.
            lam: The kernel's bandwidth.
        """
        levels = self.levels(schedule)
        weights = ((levels[1:] ** 2 - levels[:-1] ** 2) / (2 * lam**2)).exp()
        return first_acting(weights, levels[:-1], self.kernel_interval)

    def interval_that_draws(self, schedule: Schedule, lam: float) -> tuple[float, float] | None:
        """Find the longest `kernel_interval` whose first kernel step keeps a tenth of
        the state, so that draws differ.

        Args:
            schedule: The model's noise levels.
            lam: The kernel's bandwidth.

        Returns:
            The present lower bound and the greatest upper bound; None if there is no
            such interval.
        """
        low = self.kernel_interval[0]
        shorter = ((low, round(1.05 * level, 2)) for level in self.levels(schedule).tolist() if level > low)
        tried = (replace(self, kernel_interval=interval) for interval in shorter)
        return next((s.kernel_interval for s in tried if s.first_pull(schedule, lam) >= KEPT), None)

    def _centres(self, y: Batch, prior: Prior) -> Inversion | None:
        if self.centre == "render":
            return None
        schedule = prior.schedule
        levels = ladder(
            self.inversion_steps, schedule.sigma_min, first_level(self.sigma_max, schedule), self.rho
        )
        return invert(y, prior.denoiser, on_device(levels, y.device), self.inversion_limit)


@dataclass(frozen=True)
class Posterior(Checked):
    """A product sampler that runs the reverse SDE from z = y at sigma = lambda; exact
    for an exact denoiser.

    The product density is the posterior of x, given y = x + lambda n. A step keeps the
    joint law of a clean x and its noisy versions: z' = D + (s'/s)^2 (z - D) + s' sqrt(1
    - (s'/s)^2) n. No steps are spent above lambda. A call returns one draw per y, `[B,
    ...]`, after `steps` evaluations, and `inversion_steps` more for the start
    `inversion`.

    Args:
        steps: Denoiser evaluations from lambda to 0.
        order: 1, or 2 to extrapolate D within a step as DPM-Solver++(2M) does.
        start: `render`, z = y; `noise`, z = y + lambda n, n ~ N(0, I), which draws
            from the product at a bandwidth of sqrt(2) lambda about; or `inversion`,
            z = y + lambda eps_inv(lambda), with the noise a model finds in the render.
        inversion_steps: Evaluations spent on inverting y up to lambda, for
            `start="inversion"`.
        inversion_limit: Greatest root mean square of the noise estimates in that
            inversion; None is plain DDIM inversion.
        rho: Spacing of the levels: 7 crowds them at low noise; 1 spaces them evenly.

    Raises:
        FieldError: A setting is out of range.
    """

    steps: int = number(16, least=1, most=MOST_STEPS)
    order: int = choice(2, (1, 2))
    start: str = choice("render", ("render", "noise", "inversion"))
    inversion_steps: int = number(4, least=1, most=MOST_STEPS)
    inversion_limit: float | None = number(1.0, above=0)
    rho: float = number(3.0, least=0.1, most=100)

    @torch.no_grad()
    def __call__(self, y: Batch, lam: float | Level, prior: Prior, noise: Noise) -> Product:
        lam = on_device(lam, y.device)
        sigmas = karras_sigmas(self.steps, prior.schedule.sigma_min, lam, self.rho)
        z, nfe, memory = y, self.steps, None
        if self.start == "noise":
            z = noised(y, lam, noise)
        elif self.start == "inversion":
            z, nfe = self._inverted(y, lam, prior), self.steps + self.inversion_steps
        for sigma, sigma_next, last in level_pairs(sigmas):
            denoised = prior.denoiser(z, sigma)
            if self.order == 2 and not last:
                denoised, memory = extrapolate(denoised, sigma, sigma_next, memory)
            ratio = (sigma_next / sigma) ** 2
            z = torch.lerp(denoised, z, expand(ratio, z))
            if not last:
                z = z + expand(sigma_next * (1 - ratio).sqrt(), z) * noise(z)
        return Product(z, nfe)

    def _inverted(self, y: Batch, lam: Level, prior: Prior) -> Batch:
        levels = ladder(self.inversion_steps, prior.schedule.sigma_min, lam, self.rho)
        return invert(y, prior.denoiser, levels, self.inversion_limit).states[-1]


@dataclass(frozen=True)
class ProductDenoiser:
    """The denoiser of the product density: called as `denoiser(z, sigma)`, it returns
    E[x | z, y], shaped like z.

    Its score at a level sigma is (E - z) / sigma^2. A noisy state z = x + sigma n and
    the kernel's centre y = x + lambda n' are two observations of one x, together worth
    one at the level s, 1 / s^2 = 1 / sigma^2 + 1 / lambda^2, which reads c = s^2 (z /
    sigma^2 + y / lambda^2). So E[x | z, y] = D(c, s): one evaluation of the prior, with
    no approximation (Bellchambers 2025, arXiv:2506.13614, the exact denoising posterior
    score; Xu and Chi 2024, arXiv:2403.17042).

    Args:
        denoiser: The prior's D.
        y: The kernel's centres, `[B, ...]`.
        lam: The kernel's bandwidth lambda, 0-d or `[B]`.
        kernel_interval: The kernel acts while sigma lies in [low, high]; at other
            levels the result is D(z, sigma).
    """

    denoiser: Denoiser
    y: Batch
    lam: Level
    kernel_interval: tuple[float, float] = (0.0, float("inf"))

    def __call__(self, z: Batch, sigma: Level) -> Batch:
        low, high = self.kernel_interval
        share = 1 / (1 + (sigma / self.lam) ** 2)  # s^2 / sigma^2, the state's share of what is known of x
        share = torch.where((low <= sigma) & (sigma <= high), share, 1.0)  # all, where no kernel acts
        return self.denoiser(torch.lerp(self.y, z, expand(share, z)), sigma * share.sqrt())


@dataclass(frozen=True)
class ExactScore(Checked):
    """A product sampler that solves the probability-flow ODE of the product density,
    whose score is exact for an exact denoiser.

    `Split` adds the kernel's score to the prior's as if the state were clean; here both
    come from one evaluation of the prior (`ProductDenoiser`). The first evaluation is
    at sigma = infinity, where a state says nothing: E[x | z, y] = D(y, lambda). The
    combined levels s fall from lambda to the prior's least level, so no step is spent
    above lambda. A draw is a smooth function of y and of one noise. With an upper bound
    to `kernel_interval` the ODE begins at `sigma_max` instead. A call returns one draw
    per y, `[B, ...]`.

    Args:
        steps: Solver steps.
        solver: `ddim` (first order), `dpmpp-2m` or `heun` (second order).
        kernel_interval: The kernel acts while sigma lies in [low, high] (section 4.3);
            at all levels by default.
        rho: Spacing of the levels; larger values crowd steps at low noise and leave too
            little spread.
        sigma_max: First noise level, if `kernel_interval` is bounded above; None is the
            schedule's greatest, but at most 80.

    Raises:
        FieldError: A setting is out of range.
    """

    steps: int = number(16, least=1, most=MOST_STEPS)
    solver: str = choice("dpmpp-2m", SOLVERS)
    kernel_interval: tuple[float, float] = pair((0.0, float("inf")), least=0, infinite=True, strict=True)
    rho: float = number(1.0, least=0.1, most=100)
    sigma_max: float | None = number(None, least=1e-3, most=1e4)

    @torch.no_grad()
    def __call__(self, y: Batch, lam: float | Level, prior: Prior, noise: Noise) -> Product:
        lam = on_device(lam, y.device)
        denoiser = ProductDenoiser(prior.denoiser, y, lam, self.kernel_interval)
        levels = self.levels(prior.schedule)
        if levels is not None:
            sigmas = on_device(levels, y.device)
            z = expand(sigmas[0], y) * noise(y)
            return Product(sample(denoiser, z, sigmas, self.solver), solver_nfe(self.solver, self.steps))
        sigmas = self._levels_below(lam, prior.schedule)
        z = prior.denoiser(y, lam) + expand(sigmas[0], y) * noise(y)
        rest = solver_nfe(self.solver, self.steps - 1) if self.steps > 1 else 0
        return Product(sample(denoiser, z, sigmas, self.solver), 1 + rest)

    def levels(self, schedule: Schedule) -> torch.Tensor | None:
        """Return the solver's noise levels for a model, `[steps + 1]`, the last 0.

        They are None unless `kernel_interval` is bounded above: they then follow
        lambda.
        """
        if self.kernel_interval[1] == float("inf"):
            return None
        return karras_sigmas(self.steps, schedule.sigma_min, first_level(self.sigma_max, schedule), 7.0)

    def first_pull(self, schedule: Schedule, lam: float) -> float:
        """Return the state's share in the denoiser's input at the first level where the
        kernel acts, in [0, 1]; 1 if it acts at none.

        A small share forgets nothing: the state keeps its noise.

        Args:
            schedule: The model's noise levels.
            lam: The kernel's bandwidth.
        """
        bounded = self.levels(schedule)
        levels = (self._levels_below(torch.tensor(lam), schedule) if bounded is None else bounded)[:-1]
        return first_acting(1 / (1 + (levels / lam) ** 2), levels, self.kernel_interval)

    def _levels_below(self, lam: Level, schedule: Schedule) -> torch.Tensor:
        """Return the solver's levels after infinity, whose combined levels s fall from
        lambda.
        """
        combined = karras_sigmas(self.steps, schedule.sigma_min, lam, self.rho)[1:]
        return combined / (1 - (combined / lam) ** 2).sqrt()


@dataclass(frozen=True)
class Tweedie(Checked):
    """A product sampler that returns the product density's mean instead of a draw: x' =
    D(y, lambda), by Tweedie's formula; one evaluation.

    With `start: noise` it is D(y + lambda n, lambda), which for one evaluation is SDS's
    denoised image at the noise level sigma = lambda. What is mean-shift distillation's
    about it: lambda falls instead of being drawn, x' itself is the target rather than a
    weighted step to it, and a target is held while the field is fitted to it.

    Args:
        start: `render`, z = y, the mean itself for an exact denoiser; or `noise`, z = y
            + lambda n, n ~ N(0, I): the noise-scaled centre of section 4.3 without its
            inversion, which a network knows from its training.
    """

    start: str = choice("render", ("render", "noise"))

    @torch.no_grad()
    def __call__(self, y: Batch, lam: float | Level, prior: Prior, noise: Noise) -> Product:
        lam = on_device(lam, y.device)
        z = noised(y, lam, noise) if self.start == "noise" else y
        return Product(prior.denoiser(z, lam), 1)


def noised(y: Batch, lam: Level, noise: Noise) -> Batch:
    """Add noise of the kernel's own scale: y + lambda n."""
    return y + expand(lam, y) * noise(y)


SAMPLERS: dict[str, type[ProductSampler]] = {
    "split": Split,
    "posterior": Posterior,
    "exact-score": ExactScore,
    "tweedie": Tweedie,
}
