"""How well points represent a density: NLL, precision, recall, MMD, modes found."""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Float
from threestudio_msd.distillation import seed_from
from torch import Tensor

from ..measure.metrics import precision_recall
from .densities import GaussianMixture, Points

NEIGHBOURS = 3
MMD_BANDWIDTH = 0.1


def measure(
    points: Points, density: GaussianMixture, seed: int, references: int | None = None
) -> dict[str, float]:
    """Every metric of points against a seed's samples, as many by default."""
    generator = torch.Generator().manual_seed(seed_from(seed, "reference"))
    reference = density.sample(references or len(points), generator)
    precision, recall = precision_recall(reference.double().numpy(), points.double().numpy(), k=NEIGHBOURS)
    return {
        "nll": nll(points, density),
        "precision": precision,
        "recall": recall,
        "mmd": mmd(points, reference),
        "modes": modes_found(points, modes(density)),
    }


def nll(points: Points, density: GaussianMixture) -> float:
    """Mean of -log p over the points, in nats, under the exact density."""
    return -float(density.logp(points).double().mean())


def mmd(points: Points, reference: Float[Tensor, "M d"], bandwidth: float = MMD_BANDWIDTH) -> float:
    """Squared MMD with the kernel exp(-||a - b||^2 / (2 bandwidth^2)).

    Unbiased (Gretton et al. 2012, Eq. 3), so it can be slightly negative where both
    sets have the same distribution.
    """

    def mean_kernel(a: Tensor, b: Tensor) -> float:
        total = sum(
            float((-torch.cdist(rows, b).square() / (2 * bandwidth**2)).exp().double().sum())
            for rows in a.split(512)
        )
        return (total - len(a)) / (len(a) * (len(a) - 1)) if a is b else total / (len(a) * len(b))

    return (
        mean_kernel(points, points) + mean_kernel(reference, reference) - 2 * mean_kernel(points, reference)
    )


@lru_cache(maxsize=16)
def modes(density: GaussianMixture, merge: float = 2e-3, iterations: int = 400) -> Float[Tensor, "M d"]:
    """The modes of a mixture, computed once.

    By the mixture's mean shift from every component (Carreira-Perpiñán 2000, Eq. 3).

    Args:
        density: The mixture; every variance positive.
        merge: End points closer than this are one mode.
        iterations: Fixed-point steps.

    Returns:
        Modes, highest first.
    """
    means, precisions = density.means.double(), density.precisions().double()
    pulls = torch.einsum("kij,kj->ki", precisions, means)
    log_norm = density.weights.double().log() - 0.5 * density.variances.double().log().sum(1)
    x = means
    for _ in range(iterations):
        d = x[:, None] - means
        share = (log_norm - 0.5 * torch.einsum("nki,kij,nkj->nk", d, precisions, d)).softmax(1)
        x = torch.linalg.solve(torch.einsum("nk,kij->nij", share, precisions), share @ pulls)
    kept: list[Tensor] = []
    for candidate in x[density.logp(x.float()).argsort(descending=True)]:
        if all(float((candidate - mode).norm()) > merge for mode in kept):
            kept.append(candidate)
    return torch.stack(kept).float()


def modes_found(points: Points, modes: Float[Tensor, "M d"], radius: float = 0.02) -> float:
    """Share of the modes with a point within `radius`."""
    return float((torch.cdist(modes, points).amin(1) <= radius).double().mean())
