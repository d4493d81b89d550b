"""Small helpers on batches of tensors of any shape `[B, ...]`."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import NonFiniteError
from .protocols import Batch, PerSample


def expand(value: float | Tensor, like: Batch) -> Tensor:
    """Shape a scalar or one value a sample so that it broadcasts against a batch.

    Args:
        value: A number, a 0-d tensor, or `[B]`.
        like: The batch, `[B, ...]`.

    Returns:
        `value` as a tensor of shape `[1, 1, ...]` or `[B, 1, ...]`, on the device and in the dtype of `like`.

    Raises:
        ValueError: If `value` holds neither one number nor one a sample.
    """
    value = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    if value.numel() not in (1, like.shape[0]):
        raise ValueError(
            f"expected one value or {like.shape[0]} (one a sample), got shape {tuple(value.shape)}"
        )
    return value.reshape(-1, *[1] * (like.ndim - 1))


def rms(x: Batch) -> PerSample:
    """Root mean square of every sample."""
    return x.flatten(1).square().mean(1).sqrt()


def require_finite(name: str, tensor: Tensor, hint: str = "") -> Tensor:
    """Return `tensor`, or stop if it holds NaN or Inf.

    Raises:
        NonFiniteError: Naming the tensor, how many of its values are bad, and the hint.
    """
    bad = int((~torch.isfinite(tensor)).sum())
    if bad:
        raise NonFiniteError(f"{name}: {bad} of {tensor.numel()} values are NaN or Inf. {hint}".rstrip())
    return tensor
