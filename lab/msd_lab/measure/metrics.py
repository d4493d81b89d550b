"""Figures on sets of images and of their features, all on plain arrays."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Hashable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance between Gaussians fitted to two sets of features (Heusel et al.
    2017).

    ||mu_a - mu_b||^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)). It falls with the size of a
    set, so compare equal sizes only.

    Args:
        a: Features, `[N, D]`, N >= 2.
        b: Features, `[M, D]`, M >= 2.

    Raises:
        ValueError: If a set is too small or the dimensions differ.
    """
    _require_features(a, b)
    covariances = [
        np.atleast_2d(np.cov(x, rowvar=False)) for x in (a.astype(np.float64), b.astype(np.float64))
    ]
    # the trace of the root of a product is the sum of the roots of its eigenvalues,
    # which are real and >= 0
    # but for rounding
    roots = np.sqrt(np.linalg.eigvals(covariances[0] @ covariances[1]).real.clip(min=0)).sum()
    shift = np.square(a.mean(0, dtype=np.float64) - b.mean(0, dtype=np.float64)).sum()
    return float(max(shift + sum(map(np.trace, covariances)) - 2 * roots, 0.0))


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Kernel distance (KID, Binkowski et al. 2018): unbiased squared MMD with the
    kernel (x . y / D + 1)^3.

    Unlike the Fréchet distance it does not depend on the sizes of the sets on average;
    it can be negative.

    Raises:
        ValueError: If a set is too small or the dimensions differ.
    """
    from sklearn.metrics.pairwise import polynomial_kernel

    _require_features(a, b)
    a, b = a.astype(np.float64), b.astype(np.float64)

    def within(x: np.ndarray) -> float:
        kernel = polynomial_kernel(x)
        return (kernel.sum() - np.trace(kernel)) / (len(x) * (len(x) - 1))

    return float(within(a) + within(b) - 2 * polynomial_kernel(a, b).mean())


def precision_recall(real: np.ndarray, fake: np.ndarray, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al. 2019), by `prdc`, the sample
    itself not counted.

    Raises:
        ValueError: If a set has no k + 1 other samples or the dimensions differ.
    """
    from prdc import compute_prdc

    _require_features(real, fake, k + 2)  # prdc partitions at the k-th neighbour beside the sample itself
    with contextlib.redirect_stdout(io.StringIO()):  # prdc prints as it goes
        found = compute_prdc(real_features=real, fake_features=fake, nearest_k=k)
    return float(found["precision"]), float(found["recall"])


def diversity(features: np.ndarray, groups: Sequence[Hashable], squared: bool = False) -> float:
    """Mean Euclidean distance between features of one group (the particles of one run),
    averaged over groups.

    Args:
        features: `[N, D]`.
        groups: What each row belongs to; groups of one are left out.
        squared: Whether to average squared distances.

    Returns:
        The mean; NaN where every group has one member.
    """
    members: dict[Hashable, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    means = [
        float(torch.pdist(torch.as_tensor(features[rows], dtype=torch.float64)).pow(1 + squared).mean())
        for rows in members.values()
        if len(rows) > 1
    ]
    return float(np.mean(means)) if means else math.nan


def saturation(images: Tensor) -> Tensor:
    """Mean HSV saturation of each image: `[N, H, W, 3]` in [0, 1] to `[N]`."""
    high, low = images.amax(-1), images.amin(-1)
    return ((high - low) / high.clamp(min=1e-6)).mean((1, 2))


def luma(images: Tensor) -> Tensor:
    """Brightness by Rec. 601: `[N, H, W, 3]` in [0, 1] to `[N, H, W]`."""
    return images @ images.new_tensor([0.299, 0.587, 0.114])


def contrast(images: Tensor) -> Tensor:
    """Standard deviation of each image's luma: `[N, H, W, 3]` in [0, 1] to `[N]`."""
    return luma(images).flatten(1).std(1, correction=0)


def sharpness(images: Tensor) -> Tensor:
    """Variance of the Laplacian of each image's luma: `[N, H, W, 3]` in [0, 1] to
    `[N]`.
    """
    kernel = images.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    return F.conv2d(luma(images)[:, None], kernel).flatten(1).var(1)


def _require_features(a: np.ndarray, b: np.ndarray, least: int = 2) -> None:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"expected features [N, D] and [M, D], got {a.shape} and {b.shape}")
    if min(len(a), len(b)) < least:
        raise ValueError(f"sets of {len(a)} and {len(b)} images are too small: at least {least} are needed")
