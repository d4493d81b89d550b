"""The loss that a gradient field implies, by the Poisson equation."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from scipy import sparse
from scipy.sparse.linalg import spsolve
from torch import Tensor


def potential(
    field: Float[Tensor, "ny nx 2"], spacing: tuple[float, float]
) -> tuple[Float[Tensor, "ny nx"], float]:
    """The loss whose gradient comes closest to a field, and how much of the field it leaves unexplained.

    Minimises ||grad loss - field||^2 over the grid: the Poisson equation with natural boundaries, solved by
    `scipy.sparse.linalg.spsolve`.

    Args:
        field: Gradient at the points of a grid, rows along y.
        spacing: Distances of neighbouring points along x and y.

    Returns:
        The loss, of mean 0; and ||field - grad loss||^2 / ||field||^2, the curl part.
    """
    ny, nx = field.shape[:2]
    g = field.double().numpy()
    difference = lambda n, h: sparse.diags([-1.0, 1.0], [0, 1], shape=(n - 1, n)) / h  # noqa: E731
    gradient = sparse.vstack(
        [
            sparse.kron(sparse.eye(ny), difference(nx, spacing[0])),
            sparse.kron(difference(ny, spacing[1]), sparse.eye(nx)),
        ]
    ).tocsc()
    between = np.concatenate(
        [((g[:, 1:, 0] + g[:, :-1, 0]) / 2).ravel(), ((g[1:, :, 1] + g[:-1, :, 1]) / 2).ravel()]
    )
    laplacian, divergence = (gradient.T @ gradient).tocsc(), gradient.T @ between
    loss = np.concatenate(
        [[0.0], spsolve(laplacian[1:, 1:], divergence[1:])]
    )  # a loss is known up to a constant
    total = np.square(between).sum()
    curl = float(np.square(between - gradient @ loss).sum() / total) if total > 0 else 0.0
    return torch.from_numpy(loss - loss.mean()).reshape(ny, nx), curl
