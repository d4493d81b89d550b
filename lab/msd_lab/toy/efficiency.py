"""Table 3: how much signal a gradient estimate has for its variance and cost (Eq. 17)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from threestudio_msd.distillation import MSD, SDI, Constant, Estimator, SharedNoise, Split, Tweedie, seed_from
from threestudio_msd.distillation.efficiency import efficiency, log_ratio
from torch import Tensor

from ..jobs import Job
from .densities import GaussianMixture, Points
from .ends import train_networks
from .gradients import estimator_at, gradient_draws
from .measurement import Measured, Measurement, Save, gather
from .problems import BANDWIDTH, METHODS, TABLE3, Problem, msd
from .settings import Scale

OVER_THE_VIEW = " over the view"
"""Ends the name of an efficiency whose points y are taken from anywhere in the view."""


def efficiency_rows() -> dict[str, Callable[..., Estimator]]:
    """Table 3's estimators, as in `METHODS`: every MSD sampler at the bandwidth of half the optimisation."""
    half = Constant(BANDWIDTH(0.5), BANDWIDTH(0.5))
    return {
        "SDS": METHODS["SDS"],
        "VSD": METHODS["VSD"],
        "SDI": METHODS["SDI"],
        "SDI eta 0": partial(SDI, eta=0.0),
        "MSD split": partial(MSD, Split(), half),
        "MSD posterior": partial(msd, half),
        "MSD tweedie": partial(MSD, Tweedie(), half),
    }


def efficiencies(seeds: int, scale: Scale, save: Save) -> list[Measurement]:
    """Table 3: efficiency of every estimator's gradient (Eq. 17), and its oracle efficiency."""
    train_networks(TABLE3, scale)
    work = [
        (p, m, Job(f"{m}: {p}, seed {s}", gradient_efficiency, (p, m, s, scale)))
        for p in TABLE3
        for m in efficiency_rows()
        for s in range(seeds)
    ]
    return gather(work, "table3", save)


def gradient_efficiency(
    problem: Problem, method: str, seed: int, scale: Scale, progress: Callable
) -> Measured:
    """Both efficiencies of one estimator, in natural logarithms, halfway through an optimisation.

    The points y are taken from two places: from p_lambda, the density blurred by the present bandwidth, which
    is where an optimisation is by then and where a denoiser was trained; and, `OVER_THE_VIEW`, uniformly from
    the whole view.
    """
    density = problem.target()
    prior, network = problem.prior(scale.training)
    measured, nfe = {}, 0
    for index, (where, y) in enumerate(_places(density, seed, scale.places**2).items()):
        noise, phi_from = SharedNoise(seed_from(seed, method)), network if method == "VSD" else None
        estimator = estimator_at(efficiency_rows()[method], phi_from, y, noise, scale)
        tell = lambda done, of, index=index: progress(index * of + done, 2 * of)  # noqa: E731
        g, nfe = gradient_draws(estimator, y, prior, noise, scale.draws, tell)
        exact = y - density.denoise(y, BANDWIDTH(0.5))
        found = {
            "efficiency": efficiency(g, nfe),
            "oracle efficiency": oracle_efficiency(g, exact, nfe),
        }
        measured |= {name + where: value for name, value in found.items()}
    return measured, nfe


def _places(density: GaussianMixture, seed: int, count: int) -> dict[str, Points]:
    """Points y of a seed: of the blurred density, and over the view."""
    (x0, y0), (x1, y1) = density.view
    corner, size = torch.tensor([x0, y0]), torch.tensor([x1 - x0, y1 - y0])
    generator = torch.Generator().manual_seed(seed_from(seed, "places"))
    anywhere = corner + size * torch.rand(count, 2, generator=generator)
    return {"": density.sample(count, generator, BANDWIDTH(0.5)), OVER_THE_VIEW: anywhere}


def oracle_efficiency(g: Float[Tensor, "draws N d"], exact: Float[Tensor, "N d"], nfe: int) -> float:
    """ln( mean ||m||^2 / (mean E ||s g + m||^2 cost) ) with the exact mean shift m and the one scale s that
    serves the estimator best, since a step size is free.

    Args:
        g: Draws of the gradient.
        exact: The exact gradient, -m.
        nfe: Cost of one draw.
    """
    dot, square = (g.mean(0) * exact).sum(-1).mean(), g.square().sum(-1).mean()
    error = exact.square().sum(-1).mean() - dot**2 / square
    return log_ratio(float(exact.square().sum(-1).mean()), float(error) * nfe)
