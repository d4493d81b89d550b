"""How well a set of points stands for a density: NLL, precision and recall, MMD, share of the modes found."""

from __future__ import annotations

import contextlib
import io
from functools import lru_cache

import torch
from prdc import compute_prdc
from torch import Tensor

from .densities import GaussianMixture

NEIGHBOURS = 3
MMD_BANDWIDTH = 0.1


def nll(points: Tensor, density: GaussianMixture) -> float:
    """Mean of -log p over `points` `[N, d]`, in nats, under the exact density."""
    return -float(density.logp(points).double().mean())


def precision_recall(points: Tensor, reference: Tensor, neighbours: int = NEIGHBOURS) -> tuple[float, float]:
    """Precision and recall of Kynkäänniemi et al. 2019 on coordinates, by `prdc`.

    Precision is the share of `points` `[N, d]` that lie within the k-th neighbour's distance of some
    reference point, recall the same with the roles exchanged; a point is not its own neighbour.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # prdc prints its sample counts
        found = compute_prdc(reference.double().numpy(), points.double().numpy(), neighbours)
    return float(found["precision"]), float(found["recall"])


def mmd(points: Tensor, reference: Tensor, bandwidth: float = MMD_BANDWIDTH) -> float:
    """Squared maximum mean discrepancy, unbiased (Gretton et al. 2012, Eq. 3); kernel exp(-||a - b||^2 / (2 bandwidth^2)).

    Unbiased, so that it can be slightly negative where both sets have one distribution.
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
def modes(density: GaussianMixture, merge: float = 2e-3, iterations: int = 400) -> Tensor:
    """The modes of a mixture by its own mean shift from every component (Carreira-Perpiñán 2000, Eq. 3); computed once each.

    Args:
        density: The mixture; every variance positive.
        merge: End points closer than this are one mode.
        iterations: Fixed-point steps.

    Returns:
        Modes, highest first, `[M, d]`.
    """
    precisions = density.precisions().double()
    pulls = torch.einsum("kij,kj->ki", precisions, density.means.double())
    log_norm = density.weights.double().log() - 0.5 * density.variances.double().log().sum(1)
    x = density.means.double()
    for _ in range(iterations):
        d = x[:, None] - density.means.double()
        share = (log_norm - 0.5 * torch.einsum("nki,kij,nkj->nk", d, precisions, d)).softmax(1)
        x = torch.linalg.solve(torch.einsum("nk,kij->nij", share, precisions), share @ pulls)
    kept: list[Tensor] = []
    for candidate in x[density.logp(x.float()).argsort(descending=True)]:
        if all(float((candidate - mode).norm()) > merge for mode in kept):
            kept.append(candidate)
    return torch.stack(kept).float()


def modes_found(points: Tensor, modes: Tensor, radius: float = 0.02) -> float:
    """Share of `modes` `[M, d]` with a point within `radius`."""
    return float((torch.cdist(modes, points).amin(1) <= radius).double().mean())
