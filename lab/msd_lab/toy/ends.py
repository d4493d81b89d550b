"""Where a method leaves a grid of points, and how well those stand for the density (Tables 1, 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from threestudio_msd.distillation import SharedNoise, karras_sigmas, sample, seed_from

from .. import jobs
from ..jobs import Job
from .densities import GaussianMixture, Points
from .learned import Training, learned
from .measurement import Measured, Measurement, Save, gather
from .metrics import measure
from .optimise import SCHEDULE, Distilled, OnlinePhi, distil
from .problems import BANDWIDTH, LEARNING_RATES, METHODS, Problem, msd
from .settings import Scale

DDIM_STEPS = 128


def train_networks(problems: Iterable[Problem], scale: Scale) -> None:
    """Have every network that the problems need in the cache."""
    wanted = {repr((d.name, t)): (d, t) for problem in problems for d, t in problem.networks(scale.training)}
    training = [Job(f"learn {d.name}, width {t.width}", _learn, (d, t)) for d, t in wanted.values()]
    jobs.run(training, "networks")


def _learn(density: GaussianMixture, training: Training, progress: Callable) -> None:
    learned(density, training, progress=progress)


def compare(
    problems: Sequence[Problem], methods: Sequence[str], seeds: int, scale: Scale, title: str, save: Save
) -> list[Measurement]:
    """Tables 1 and 2: every method on every problem, its final points measured against the exact density.

    Args:
        problems: Columns.
        methods: Rows, of `METHODS`, or "DDIM" for unconstrained sampling.
        seeds: Number of seeds, counted from 0.
        scale: Size.
        title: Name of the progress bar.
        save: Told all measurements so far whenever a run has ended.
    """
    train_networks(problems, scale)
    work = [
        (p, m, Job(f"{m}: {p}, seed {s}", final_metrics, (p, m, s, scale)))
        for p in problems
        for m in methods
        for s in range(seeds)
    ]
    return gather(work, title, save)


def final_metrics(problem: Problem, method: str, seed: int, scale: Scale, progress: Callable) -> Measured:
    """Optimise (or sample) once and measure the final points."""
    if method == "DDIM":
        points, nfe = sampled(problem, seed, scale), DDIM_STEPS
    else:
        moved = optimised(problem, method, seed, scale, progress=progress)
        points, nfe = moved.points, moved.nfe
    return measure(points, problem.target(), seed), nfe


def sampled(problem: Problem, seed: int, scale: Scale) -> Points:
    """As many samples of the prior by DDIM as a grid has points: the reference distribution."""
    prior, _ = problem.prior(scale.training)
    density, noise = problem.target(), SharedNoise(seed_from(seed, "DDIM"))
    sigmas = karras_sigmas(DDIM_STEPS, SCHEDULE.sigma_min, SCHEDULE.sigma_max, SCHEDULE.rho)
    start = density.moments()[0] + SCHEDULE.sigma_max * noise(density.grid(scale.grid))
    return sample(prior.denoiser, start, sigmas)


def optimised(
    problem: Problem,
    method: str,
    seed: int,
    scale: Scale,
    record_every: int = 0,
    progress: Callable | None = None,
) -> Distilled:
    """Let a method of `METHODS` move a grid of points."""
    prior, network = problem.prior(scale.training)
    phi = OnlinePhi(network) if method == "VSD" else None
    estimator = METHODS[method](phi.denoise) if phi else METHODS[method]()
    return distil(
        problem.target().grid(scale.grid),
        estimator,
        prior,
        SharedNoise(seed_from(seed, method)),
        scale.steps,
        LEARNING_RATES[method],
        record_every,
        phi,
        progress,
    )


def frontier(problems: Sequence[Problem], scale: Scale, save: Save) -> list[Measurement]:
    """MSD from every starting bandwidth of `scale.starts`, all else at its setting; one seed."""
    train_networks(problems, scale)
    work = [
        (p, f"λ from {start:g}", Job(f"{p}, λ from {start:g}", _from_start, (p, start, scale)))
        for p in problems
        for start in scale.starts
    ]
    return gather(work, "frontier", save)


def _from_start(problem: Problem, start: float, scale: Scale, progress: Callable) -> Measured:
    density, (prior, _) = problem.target(), problem.prior(scale.training)
    estimator, noise = msd(replace(BANDWIDTH, start=start)), SharedNoise(seed_from(0, "frontier"))
    moved = distil(density.grid(scale.grid), estimator, prior, noise, scale.steps, progress=progress)
    return measure(moved.points, density, 0), moved.nfe
