"""Bias and spread of the product samplers against the exact mean shift."""

from __future__ import annotations

from collections.abc import Callable

from threestudio_msd.distillation import (
    MSD,
    Constant,
    ExactScore,
    PlainPrior,
    Posterior,
    ProductSampler,
    SharedNoise,
    Split,
    seed_from,
)

from ..jobs import Job
from .densities import GaussianMixture
from .gradients import gradient_draws
from .measurement import Measured, Measurement, Save, Values, gather
from .optimise import SCHEDULE
from .problems import Problem
from .settings import Scale

BANDWIDTHS = (0.05, 0.1, 0.2, 0.5, 1.0)
STEPS = (4, 8, 16, 32)


def samplers(steps: int) -> dict[str, ProductSampler]:
    """Product samplers whose mean is compared with the exact one."""
    return {
        "split": Split(steps=steps),
        "posterior order 1": Posterior(steps=steps, order=1),
        "posterior": Posterior(steps=steps),
        "exact-score order 1": ExactScore(steps=steps, solver="ddim"),
        "exact-score": ExactScore(steps=steps),
    }


def biases(seeds: int, scale: Scale, save: Save, density: str = "fractal") -> list[Measurement]:
    """Bias and spread of every product sampler, over bandwidth and number of steps."""
    problem = Problem(density)
    work = [
        (
            problem,
            f"{name}, {steps} steps",
            Job(f"{name}, {steps} steps, seed {s}", sampler_bias, (problem, name, steps, s, scale)),
        )
        for steps in STEPS
        for name in samplers(steps)
        for s in range(seeds)
    ]
    return gather(work, "bias", save)


def sampler_bias(
    problem: Problem, name: str, steps: int, seed: int, scale: Scale, progress: Callable
) -> Measured:
    """What `bias` measures, of a sampler of `samplers` at every bandwidth of `BANDWIDTHS`."""
    density, sampler, measured, nfe = problem.target(), samplers(steps)[name], {}, 0
    for index, lam in enumerate(BANDWIDTHS):
        noise = SharedNoise(seed_from(seed, name, steps, index))
        found, nfe = bias(density, sampler, lam, noise, scale)
        measured |= {f"{what} at {lam:g}": value for what, value in found.items()}
        progress(index + 1, len(BANDWIDTHS))
    return measured, nfe


def bias(
    density: GaussianMixture, sampler: ProductSampler, lam: float, noise: SharedNoise, scale: Scale
) -> tuple[Values, int]:
    """Bias ||E x - x'|| and spread of one draw, relative to ||m||, medians over a grid of y; NFE of a draw.

    The resolution is the error that the number of draws leaves in the mean; it is taken off the bias in
    expectation.
    """
    y, prior = density.grid(scale.places), PlainPrior(density.denoise, SCHEDULE)
    g, nfe = gradient_draws(MSD(sampler, Constant(lam, lam)), y, prior, noise, scale.draws)
    exact = (y - density.denoise(y, lam)).double()
    norm, variance = exact.norm(dim=-1), g.var(0).sum(-1)
    squared = (g.mean(0) - exact).square().sum(-1) - variance / len(g)
    relative = {
        "bias": squared.clamp(min=0).sqrt(),
        "spread": variance.sqrt(),
        "resolution": (variance / len(g)).sqrt(),
    }
    return {what: float((value / norm).median()) for what, value in relative.items()}, nfe
