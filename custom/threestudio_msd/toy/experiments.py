"""The toys' experiments: jobs that measure, and the cells they make."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev

import torch
from torch import Tensor

from .. import jobs
from ..distillation import (
    MSD,
    SDI,
    Constant,
    Estimator,
    PlainPrior,
    Posterior,
    Prior,
    SharedNoise,
    Split,
    Tweedie,
    karras_sigmas,
    sample,
    seed_from,
)
from ..jobs import Job
from . import metrics
from .densities import GaussianMixture
from .learned import PUBLISHED_SETUP, DensityNetwork, Training, learned
from .optimise import SCHEDULE, OnlinePhi, distil
from .paper import PUBLISHED
from .problems import BANDWIDTH, LEARNING_RATES, METHODS, TABLE3, Problem, msd

DDIM_STEPS = 128
OVER_THE_VIEW = " over the view"
"""Ends the name of an efficiency whose points y are taken from anywhere in the view."""


@dataclass(frozen=True)
class Scale:
    """How large an experiment is.

    Args:
        grid: Points along each side of the starting grid; the reference sample is as large as the grid.
        steps: Optimiser steps.
        training: Set-up of the learned denoisers.
        draws: Estimates a point, where a gradient's mean and variance are measured.
        places: Points along each side, there.
        starts: Starting bandwidths of the frontier.
    """

    grid: int = 64
    steps: int = 150
    training: Training = PUBLISHED_SETUP
    draws: int = 1024
    places: int = 12
    starts: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5, 0.8, 1.2)


QUICK = Scale(
    grid=16, steps=50, training=Training(steps=256, batch=512), draws=64, places=6, starts=(0.1, 0.3, 1.2)
)


@dataclass(frozen=True)
class Cell:
    """One figure of a table.

    Attributes:
        density: Density.
        denoiser: `ideal` or `learned`.
        guidance: `none`, `cfg` or `autoguidance`.
        method: Estimator or sampler.
        metric: What was measured.
        mean: Mean over the seeds; infinite where an estimator is deterministic (efficiency) or exact (oracle
            efficiency), minus infinite where it has no signal.
        std: Standard deviation over the seeds (n - 1); None for a single seed or an infinite mean.
        seeds: Number of seeds.
        paper: The paper's figure, where it has one.
        calls: Denoiser calls: of a whole optimisation a point (Tables 1, 2), of one estimate (Table 3, bias).
    """

    density: str
    denoiser: str
    guidance: str
    method: str
    metric: str
    mean: float
    std: float | None
    seeds: int
    paper: float | None
    calls: int


Measured = dict[str, float]
Report = Callable[[list[Cell]], None]


def train_networks(problems: Iterable[Problem], scale: Scale) -> None:
    """Have every network that the problems need in the cache."""
    wanted = {repr((d.name, t)): (d, t) for problem in problems for d, t in problem.networks(scale.training)}
    training = [Job(f"learn {d.name}, width {t.width}", _learn, (d, t)) for d, t in wanted.values()]
    jobs.run(training, "networks")


def _learn(density: GaussianMixture, training: Training, progress: Callable) -> None:
    learned(density, training, progress=progress)


def compare(
    problems: Sequence[Problem], methods: Sequence[str], seeds: int, scale: Scale, title: str, report: Report
) -> list[Cell]:
    """Tables 1 and 2: every method on every problem, its final points measured against the exact density.

    Args:
        problems: Columns.
        methods: Rows, of `METHODS`, or "DDIM" for unconstrained sampling.
        seeds: Number of seeds, counted from 0.
        scale: Size.
        title: Name of the progress bar.
        report: Told all cells finished so far whenever one is.
    """
    train_networks(problems, scale)
    return _measure(
        [
            (p, m, Job(f"{m}: {p}, seed {s}", final_metrics, (p, m, s, scale)))
            for p in problems
            for m in methods
            for s in range(seeds)
        ],
        title,
        report,
    )


def final_metrics(
    problem: Problem, method: str, seed: int, scale: Scale, progress: Callable
) -> tuple[Measured, int]:
    """Optimise (or sample) once; metrics of the final points, and the calls a point took."""
    points, calls = final_points(problem, method, seed, scale, progress)
    return measure(points, problem.target(), seed), calls


def measure(points: Tensor, density: GaussianMixture, seed: int, references: int | None = None) -> Measured:
    """Every metric of a set of points `[N, 2]`, against reference samples, as many as there are points by default."""
    reference = density.sample(
        references or len(points), torch.Generator().manual_seed(seed_from(seed, "reference"))
    )
    precision, recall = metrics.precision_recall(points, reference)
    return {
        "nll": metrics.nll(points, density),
        "precision": precision,
        "recall": recall,
        "mmd": metrics.mmd(points, reference),
        "modes": metrics.modes_found(points, metrics.modes(density)),
    }


def final_points(
    problem: Problem, method: str, seed: int, scale: Scale, progress: Callable | None = None, **options: int
) -> tuple[Tensor, int]:
    """Points where a method leaves the grid, `[grid^2, 2]`, and the denoiser calls a point took. Options go to `distil`."""
    prior, network = problem.prior(scale.training)
    density = problem.target()
    noise = SharedNoise(seed_from(seed, method))
    if method == "DDIM":
        grid = density.grid(scale.grid)
        sigmas = karras_sigmas(DDIM_STEPS, SCHEDULE.sigma_min, SCHEDULE.sigma_max, SCHEDULE.rho)
        return sample(
            prior.denoiser, density.moments()[0] + SCHEDULE.sigma_max * noise(grid), sigmas
        ), DDIM_STEPS
    phi = OnlinePhi(network) if method == "VSD" else None
    start = density.grid(scale.grid)
    lr = LEARNING_RATES[method]
    estimator = METHODS[method](phi.denoise) if phi else METHODS[method]()
    moved = distil(start, estimator, prior, noise, scale.steps, lr, phi=phi, progress=progress, **options)
    return (moved.path if options else moved.points), moved.nfe


def efficiency_rows() -> dict[str, Callable[..., Estimator]]:
    """Table 3's estimators, as in `METHODS`: every MSD sampler at one bandwidth, that of half the optimisation."""
    half = Constant(BANDWIDTH(0.5), BANDWIDTH(0.5))
    return {
        "SDS": METHODS["SDS"],
        "VSD": METHODS["VSD"],
        "SDI": METHODS["SDI"],
        "SDI eta 0": lambda: SDI(eta=0.0),
        "MSD split": lambda: MSD(Split(), half),
        "MSD posterior": lambda: msd(half),
        "MSD tweedie": lambda: MSD(Tweedie(), half),
    }


def efficiencies(seeds: int, scale: Scale, report: Report) -> list[Cell]:
    """Table 3: efficiency of every estimator's gradient (Eq. 17), and its oracle efficiency."""
    train_networks(TABLE3, scale)
    rows = efficiency_rows()
    work = [
        (p, m, Job(f"{m}: {p}, seed {s}", gradient_efficiency, (p, m, s, scale)))
        for p in TABLE3
        for m in rows
        for s in range(seeds)
    ]
    return _measure(work, "table3", report)


def gradient_efficiency(
    problem: Problem, method: str, seed: int, scale: Scale, progress: Callable
) -> tuple[Measured, int]:
    """Both efficiencies of one estimator, in natural logarithms, halfway through an optimisation.

    The points y are taken from two places: from p_lambda, the density blurred by the present bandwidth, which
        is where an
    optimisation is by then and where a denoiser was trained; and, `OVER_THE_VIEW`, uniformly from the whole
    view.

    Eq. 17 in ratios of means over y: ln( mean ||E g||^2 / (mean E ||g - E g||^2 cost) ); the squared norm of
    the mean is corrected for the draws' own variance. The oracle efficiency is ln( mean ||m||^2 / (mean E ||s
    g + m||^2 cost) ) with the exact mean shift m and the one scale s that serves the estimator best, since a
    step size is free.
    """
    density, count = problem.target(), scale.places**2
    prior, network = problem.prior(scale.training)
    (x0, y0), (x1, y1) = density.view
    corner, size = torch.tensor([x0, y0]), torch.tensor([x1 - x0, y1 - y0])
    generator = torch.Generator().manual_seed(seed_from(seed, "places"))
    anywhere = corner + size * torch.rand(count, 2, generator=generator)
    near = density.sample(count, generator, BANDWIDTH(0.5))
    measured, calls = {}, 0
    for index, (where, y) in enumerate({"": near, OVER_THE_VIEW: anywhere}.items()):
        noise = SharedNoise(seed_from(seed, method))
        phi = [halfway_phi(network, y, noise, scale).denoise] if method == "VSD" else []
        tell = lambda done, of, index=index: progress(index * of + done, 2 * of)  # noqa: E731
        g, calls = gradient_draws(efficiency_rows()[method](*phi), y, prior, noise, scale.draws, tell)
        for name, value in _efficiencies(g, y - density.denoise(y, BANDWIDTH(0.5)), calls).items():
            measured[name + where] = value
    return measured, calls


def _efficiencies(g: Tensor, exact: Tensor, calls: int) -> Measured:
    """Both efficiencies from draws `[D, N, d]` of a gradient and the exact one `[N, d]`."""
    mean, variance = g.mean(0), g.var(0).sum(-1)
    signal = (mean.square().sum(-1) - variance / len(g)).mean()
    dot, square = (mean * exact).sum(-1).mean(), g.square().sum(-1).mean()
    error = exact.square().sum(-1).mean() - dot**2 / square
    return {
        "efficiency": _log_ratio(float(signal), float(variance.mean()) * calls),
        "oracle efficiency": _log_ratio(float(exact.square().sum(-1).mean()), float(error) * calls),
    }


def halfway_phi(network: DensityNetwork, y: Tensor, noise: SharedNoise, scale: Scale) -> OnlinePhi:
    """VSD's phi after half an optimisation's training steps at points that stand still."""
    phi = OnlinePhi(network)
    for _ in range(scale.steps // 2):
        phi.step(y, noise)
    return phi


def gradient_draws(
    estimator: Estimator,
    y: Tensor,
    prior: Prior,
    noise: SharedNoise,
    draws: int,
    progress: Callable | None = None,
    at: float = 0.5,
) -> tuple[Tensor, int]:
    """`draws` estimates at every y of `[N, d]` when the part `at` of an optimisation is done: `[draws, N, d]`; their calls."""
    estimates, calls, batch = [], 0, max(8192 // len(y), 1)
    for start in range(0, draws, batch):
        now = min(batch, draws - start)
        estimate = estimator(y.repeat(now, 1), prior, noise, at)
        estimates.append(estimate.gradient.double().unflatten(0, (now, len(y))))
        calls = estimate.nfe
        if progress:
            progress(start + now, draws)
    return torch.cat(estimates), calls


BIAS_BANDWIDTHS = (0.05, 0.1, 0.2, 0.5, 1.0)
BIAS_STEPS = (4, 8, 16, 32)


def bias_samplers(steps: int) -> dict[str, object]:
    """Product samplers whose mean is compared with the exact one."""
    return {
        "split": Split(steps=steps),
        "posterior order 1": Posterior(steps=steps, order=1),
        "posterior": Posterior(steps=steps),
    }


def biases(seeds: int, scale: Scale, report: Report, density: str = "fractal") -> list[Cell]:
    """Bias and spread of every product sampler against the exact mean shift, over bandwidth and number of steps."""
    problem = Problem(density)
    work = [
        (
            problem,
            f"{name}, {steps} steps",
            Job(f"{name}, {steps} steps, seed {s}", sampler_bias, (problem, name, steps, s, scale)),
        )
        for steps in BIAS_STEPS
        for name in bias_samplers(steps)
        for s in range(seeds)
    ]
    return _measure(work, "bias", report)


def sampler_bias(
    problem: Problem, name: str, steps: int, seed: int, scale: Scale, progress: Callable
) -> tuple[Measured, int]:
    """Relative bias ||E x - x'|| / ||m|| and relative spread at every bandwidth, each the median over a grid of y."""
    density = problem.target()
    prior = PlainPrior(density.denoise, SCHEDULE)
    y, measured, calls = density.grid(scale.places), {}, 0
    for index, lam in enumerate(BIAS_BANDWIDTHS):
        estimator = MSD(bias_samplers(steps)[name], Constant(lam, lam))
        noise = SharedNoise(seed_from(seed, name, steps, index))
        g, calls = gradient_draws(estimator, y, prior, noise, scale.draws)
        exact = (y - density.denoise(y, lam)).double()
        norm, variance = exact.norm(dim=-1), g.var(0).sum(-1)
        squared = (g.mean(0) - exact).square().sum(-1) - variance / len(
            g
        )  # unbiased: the draws' own noise is taken off
        measured[f"bias at {lam:g}"] = float((squared.clamp(min=0).sqrt() / norm).median())
        measured[f"spread at {lam:g}"] = float((variance.sqrt() / norm).median())
        measured[f"resolution at {lam:g}"] = float(((variance / len(g)).sqrt() / norm).median())
        progress(index + 1, len(BIAS_BANDWIDTHS))
    return measured, calls


def _measure(work: Sequence[tuple[Problem, str, Job]], title: str, report: Report) -> list[Cell]:
    """Run the jobs of a table; collect their seeds into cells as they come."""
    rows = {job: (problem, method) for problem, method, job in work}
    gathered: dict[tuple[Problem, str], list[tuple[Measured, int]]] = {}

    def collect(job: Job, result: tuple[Measured, int]) -> None:
        gathered.setdefault(rows[job], []).append(result)
        report(cells())

    def cells() -> list[Cell]:
        order = dict.fromkeys(rows.values())
        return [cell for key in order if key in gathered for cell in _cells(*key, gathered[key])]

    jobs.run([job for _, _, job in work], title, on_result=collect)
    return cells()


def _cells(problem: Problem, method: str, results: list[tuple[Measured, int]]) -> list[Cell]:
    calls = results[0][1]
    cells = []
    for metric in results[0][0]:
        values = sorted(
            measured[metric] for measured, _ in results
        )  # in an order that does not depend on who ended first
        mean = fmean(values)
        std = stdev(values) if math.isfinite(mean) and len(values) > 1 else None
        paper = PUBLISHED.get((problem, method, metric))
        cells.append(
            Cell(
                **asdict(problem),
                method=method,
                metric=metric,
                mean=mean,
                std=std,
                seeds=len(values),
                paper=paper,
                calls=calls,
            )
        )
    return cells


def _log_ratio(numerator: float, denominator: float) -> float:
    """Natural logarithm of a ratio; infinite where the denominator is 0, minus infinite where the numerator is not positive."""
    if numerator <= 0:
        return -math.inf
    return math.log(numerator / denominator) if denominator > 0 else math.inf
