"""Gradients at fixed points: efficiency (Table 3), bias, and the loss they imply."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from scipy import sparse
from scipy.sparse.linalg import spsolve
from threestudio_msd.distillation import (
    MSD,
    SDI,
    SDS,
    VSD,
    Constant,
    Estimator,
    ExactScore,
    Noise,
    PlainPrior,
    Posterior,
    Prior,
    ProductSampler,
    SharedNoise,
    Split,
    Tweedie,
    seed_from,
)
from threestudio_msd.distillation.efficiency import efficiency, log_ratio
from torch import Tensor

from .densities import GaussianMixture, Points
from .experiment import Outcome, Scale, over
from .learned import DensityNetwork, Progress
from .optimise import OnlinePhi
from .problems import BANDWIDTH, METHODS, SCHEDULE, Problem, msd

# Points of all draws together that are estimated at a time.
ROWS = 8192
# Ends the name of an efficiency whose points y are taken from anywhere in the view.
OVER_THE_VIEW = " over the view"
# The bandwidth halfway through an optimisation.
HALF = Constant(BANDWIDTH(0.5), BANDWIDTH(0.5))
# Table 3's estimators, as `Method.make`.
EFFICIENCY_METHODS: dict[str, Callable[..., Estimator]] = {
    "SDS": SDS,
    "VSD": VSD,
    "SDI": SDI,
    "SDI eta 0": partial(SDI, eta=0.0),
    "MSD split": partial(MSD, Split(), HALF),
    "MSD posterior": partial(msd, HALF),
    "MSD tweedie": partial(MSD, Tweedie(), HALF),
}
# Product samplers whose mean is compared with the exact one, by their number of steps.
SAMPLERS: dict[str, Callable[[int], ProductSampler]] = {
    "split": Split,
    "posterior order 1": partial(Posterior, order=1),
    "posterior": Posterior,
    "exact-score order 1": partial(ExactScore, solver="ddim"),
    "exact-score": ExactScore,
}
BANDWIDTHS = (0.05, 0.1, 0.2, 0.5, 1.0)
STEPS = (4, 8, 16, 32)
# A point outside the fractal.
OUTSIDE = torch.tensor([[0.35, 0.25]])


def gradient_draws(
    estimator: Estimator,
    y: Points,
    prior: Prior,
    noise: Noise,
    draws: int,
    progress: Progress | None = None,
    at: float = 0.5,
) -> tuple[Float[Tensor, "draws N d"], int]:
    """Estimate the gradient at every y many times.

    Args:
        estimator: Any estimator.
        y: Points.
        prior: The density's prior.
        noise: Source of noise.
        draws: Estimates at each point.
        progress: Called with (draws made, draws).
        at: Part of the optimisation done, in [0, 1].

    Returns:
        The estimates, in double precision, and the denoiser evaluations of one.
    """
    estimates, nfe, batch = [], 0, max(ROWS // len(y), 1)
    for start in range(0, draws, batch):
        now = min(batch, draws - start)
        estimate = estimator(y.repeat(now, 1), prior, noise, at)
        estimates.append(estimate.gradient.double().unflatten(0, (now, len(y))))
        nfe = estimate.nfe
        if progress:
            progress(start + now, draws)
    return torch.cat(estimates), nfe


def estimator_at(
    make: Callable[..., Estimator], network: DensityNetwork, y: Points, noise: Noise, scale: Scale
) -> Estimator:
    """Make an estimator as it is halfway through a run whose points stay at y.

    Args:
        make: Makes it, as `Method.make`.
        network: Start of VSD's phi, which is then trained for half the steps of a run.
        y: The points.
        noise: Source of noise.
        scale: Size of the experiment.
    """
    if make is not VSD:
        return make()
    phi = OnlinePhi(network)
    for _ in range(scale.steps // 2):
        phi.step(y, noise)
    return make(phi.denoise)


def gradient_efficiency(
    problem: Problem, method: str, seed: int, scale: Scale, progress: Progress
) -> Outcome:
    """Both efficiencies of one estimator, as natural logarithms, halfway through a run.

    The points y come from two places: from p_lambda, the density blurred by the present
    bandwidth, where an optimisation is by then and where a denoiser was trained; and,
    `OVER_THE_VIEW`, uniformly from the whole view.
    """
    density, (prior, network) = problem.target(), problem.prior(scale.training)

    def measure(y: Points) -> tuple[dict[str, float], int]:
        noise = SharedNoise(seed_from(seed, method))
        estimator = estimator_at(EFFICIENCY_METHODS[method], network, y, noise, scale)
        g, nfe = gradient_draws(estimator, y, prior, noise, scale.draws)
        exact = y - density.denoise(y, BANDWIDTH(0.5))
        oracle = oracle_efficiency(g, exact, nfe)
        return {"efficiency": efficiency(g, nfe), "oracle efficiency": oracle}, nfe

    return over(_places(density, seed, scale.places**2), measure, progress)


def _places(density: GaussianMixture, seed: int, count: int) -> dict[str, Points]:
    (x0, y0), (x1, y1) = density.view
    corner, size = torch.tensor([x0, y0]), torch.tensor([x1 - x0, y1 - y0])
    generator = torch.Generator().manual_seed(seed_from(seed, "places"))
    anywhere = corner + size * torch.rand(count, 2, generator=generator)
    return {"": density.sample(count, generator, BANDWIDTH(0.5)), OVER_THE_VIEW: anywhere}


def oracle_efficiency(g: Float[Tensor, "draws N d"], exact: Float[Tensor, "N d"], nfe: int) -> float:
    """Efficiency whose error is that against the exact mean shift m.

    ln( mean ||m||^2 / (mean E ||s g + m||^2 cost) ) with the one scale s that serves
    the estimator best, since a step size is free.

    Args:
        g: Draws of the gradient.
        exact: The exact gradient, -m.
        nfe: Cost of one draw.
    """
    signal = exact.square().sum(-1).mean()
    dot, square = (g.mean(0) * exact).sum(-1).mean(), g.square().sum(-1).mean()
    return log_ratio(float(signal), float(signal - dot**2 / square) * nfe)


def sampler_bias(
    problem: Problem, sampler: tuple[str, int], seed: int, scale: Scale, progress: Progress
) -> Outcome:
    """`bias` of (a name of `SAMPLERS`, its steps) at every bandwidth."""
    (name, steps), settings = sampler, {f" at {lam:g}": lam for lam in BANDWIDTHS}

    def measure(lam: float) -> tuple[dict[str, float], int]:
        noise = SharedNoise(seed_from(seed, name, steps, BANDWIDTHS.index(lam)))
        return bias(problem.target(), SAMPLERS[name](steps), lam, noise, scale)

    return over(settings, measure, progress)


def bias(
    density: GaussianMixture, sampler: ProductSampler, lam: float, noise: SharedNoise, scale: Scale
) -> tuple[dict[str, float], int]:
    """Bias ||E x - x'|| and spread of one draw relative to ||m||, and a draw's NFE.

    Both are medians over a grid of y. The resolution is the error that the number of
    draws leaves in the mean; it is taken off the bias in expectation.
    """
    y, prior = density.grid(scale.places), PlainPrior(density.denoise, SCHEDULE)
    g, nfe = gradient_draws(MSD(sampler, Constant(lam, lam)), y, prior, noise, scale.draws)
    exact = (y - density.denoise(y, lam)).double()
    variance = g.var(0).sum(-1)
    squares = {
        "bias": ((g.mean(0) - exact).square().sum(-1) - variance / len(g)).clamp(min=0),
        "spread": variance,
        "resolution": variance / len(g),
    }
    return {name: float((x.sqrt() / exact.norm(dim=-1)).median()) for name, x in squares.items()}, nfe


def implied_loss(
    problem: Problem, moment: tuple[str, float], seed: int, scale: Scale, progress: Progress
) -> Outcome:
    """The loss whose gradient comes closest to a method's mean gradient over the view.

    Args:
        problem: The density and its denoiser.
        moment: A name of `METHODS`, and the part of the optimisation done.
        seed: Seed of the noise.
        scale: The loss is found on a grid of 96 x 96 points, or 32 x 32 where `grid` is
            less than 48.
        progress: Called with (draws made, draws).

    Returns:
        The share `curl` of the field that no loss explains; the data is
        (loss `[ny, nx]`, curl).
    """
    density, size = problem.target(), 96 if scale.grid >= 48 else 32
    field, nfe = mean_field(problem, *moment, seed, size, scale, progress)
    (x0, y0), (x1, y1) = density.view
    loss, curl = potential(field.reshape(size, size, 2), ((x1 - x0) / size, (y1 - y0) / size))
    return Outcome({"curl": curl}, nfe, (loss, curl))


def mean_field(
    problem: Problem, method: str, at: float, seed: int, size: int, scale: Scale, progress: Progress
) -> tuple[Float[Tensor, "N d"], int]:
    """Mean gradient on `size` x `size` points, the part `at` of a run done; NFE."""
    prior, network = problem.prior(scale.training)
    y, noise = problem.target().grid(size), SharedNoise(seed_from(seed, method))
    estimator = estimator_at(METHODS[method].make, network, y, noise, scale)
    draws, nfe = gradient_draws(estimator, y, prior, noise, max(scale.draws // 16, 16), progress, at)
    return draws.mean(0), nfe


def potential(
    field: Float[Tensor, "ny nx 2"], spacing: tuple[float, float]
) -> tuple[Float[Tensor, "ny nx"], float]:
    """The loss whose gradient comes closest to a field, and how much stays unexplained.

    Minimises ||grad loss - field||^2 over the grid: the Poisson equation with natural
    boundaries, solved by `scipy.sparse.linalg.spsolve`.

    Args:
        field: Gradient at the points of a grid, rows along y.
        spacing: Distances of neighbouring points along x and y.

    Returns:
        The loss, of mean 0; and ||field - grad loss||^2 / ||field||^2, the curl part.
    """
    ny, nx = field.shape[:2]
    g = field.double().numpy()
    difference = lambda n, h: sparse.diags([-1.0, 1.0], [0, 1], shape=(n - 1, n)) / h  # noqa: E731
    along_x = sparse.kron(sparse.eye(ny), difference(nx, spacing[0]))
    along_y = sparse.kron(difference(ny, spacing[1]), sparse.eye(nx))
    gradient = sparse.vstack([along_x, along_y]).tocsc()
    between_x, between_y = (g[:, 1:, 0] + g[:, :-1, 0]) / 2, (g[1:, :, 1] + g[:-1, :, 1]) / 2
    between = np.concatenate([between_x.ravel(), between_y.ravel()])
    laplacian, divergence = (gradient.T @ gradient).tocsc(), gradient.T @ between
    # a loss is known up to a constant: its first value is 0
    loss = np.concatenate([[0.0], spsolve(laplacian[1:, 1:], divergence[1:])])
    total = np.square(between).sum()
    curl = float(np.square(between - gradient @ loss).sum() / total) if total > 0 else 0.0
    return torch.from_numpy(loss - loss.mean()).reshape(ny, nx), curl


def product_samples(problem: Problem, lam: float, seed: int, scale: Scale, progress: Progress) -> Outcome:
    """Sample the product around `OUTSIDE`; data: (lambda, samples, exact mean)."""
    density, noise = problem.target(), SharedNoise(seed_from(seed, "bandwidth"))
    found = Posterior()(OUTSIDE.repeat(400, 1), lam, PlainPrior(density.denoise, SCHEDULE), noise)
    return Outcome({}, found.nfe, (lam, found.x, density.denoise(OUTSIDE, lam)[0]))
