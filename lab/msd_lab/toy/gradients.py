"""Many estimates of a method's gradient at the same points, and their mean as a field."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from threestudio_msd.distillation import Estimator, Noise, Prior, SharedNoise, seed_from
from torch import Tensor

from .densities import Points
from .learned import DensityNetwork
from .optimise import OnlinePhi
from .problems import METHODS, Problem
from .settings import Scale

ROWS = 8192
"""Points of all draws together that are estimated at a time."""


def gradient_draws(
    estimator: Estimator,
    y: Points,
    prior: Prior,
    noise: Noise,
    draws: int,
    progress: Callable | None = None,
    at: float = 0.5,
) -> tuple[Float[Tensor, "draws N d"], int]:
    """Estimate the gradient at every y many times.

    Args:
        estimator: Any estimator.
        y: Points.
        prior: The density's prior.
        noise: Source of noise.
        draws: Estimates at each point.
        progress: Told (draws made, draws).
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
    make: Callable[..., Estimator], phi_from: DensityNetwork | None, y: Points, noise: Noise, scale: Scale
) -> Estimator:
    """An estimator halfway through an optimisation whose points stand still at y.

    Args:
        make: Makes it, as in `METHODS`; given phi where there is one.
        phi_from: For VSD, the network that its phi starts from: phi has half the training steps of a run.
        y: The points.
        noise: Source of noise.
        scale: Size of the experiment.
    """
    if phi_from is None:
        return make()
    phi = OnlinePhi(phi_from)
    for _ in range(scale.steps // 2):
        phi.step(y, noise)
    return make(phi.denoise)


def mean_field(
    problem: Problem, method: str, at: float, size: int, scale: Scale, progress: Callable
) -> tuple[Float[Tensor, "N d"], int]:
    """A method's mean gradient on a grid of `size` x `size` points, the part `at` of an optimisation done."""
    prior, network = problem.prior(scale.training)
    y, noise = problem.target().grid(size), SharedNoise(seed_from(0, method))
    estimator = estimator_at(METHODS[method], network if method == "VSD" else None, y, noise, scale)
    draws, nfe = gradient_draws(estimator, y, prior, noise, max(scale.draws // 16, 16), progress, at)
    return draws.mean(0), nfe
