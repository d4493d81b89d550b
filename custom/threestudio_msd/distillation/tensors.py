"""Small helpers on batches of tensors of any shape `[B, ...]`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..errors import NonFiniteError
from .protocols import Batch, PerSample


def on_device(value: float | Tensor, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """Put a number or a tensor on a device without waiting for it: CPU tensors go
    through pinned memory.
    """
    if not isinstance(value, Tensor):
        return torch.full((), value, dtype=dtype, device=device)
    if device.type == "cuda" and value.device.type == "cpu":
        return value.to(dtype).pin_memory().to(device, non_blocking=True)
    return value.to(device, dtype)


def expand(value: float | Tensor, like: Batch) -> Tensor:
    """Shape a scalar or one value a sample so that it broadcasts against a batch.

    Args:
        value: A number, a 0-d tensor, or `[B]`.
        like: The batch, `[B, ...]`.

    Returns:
        `value` as a tensor of shape `[1, 1, ...]` or `[B, 1, ...]`, on the device and
        in the dtype of `like`.

    Raises:
        ValueError: If `value` holds neither one number nor one a sample.
    """
    value = on_device(value, like.device, like.dtype)
    if value.numel() not in (1, like.shape[0]):
        raise ValueError(
            f"expected one value or {like.shape[0]} (one a sample), got shape {tuple(value.shape)}"
        )
    return value.reshape(-1, *[1] * (like.ndim - 1))


def rms(x: Batch) -> PerSample:
    """Root mean square of every sample, `[B]`."""
    return x.flatten(1).square().mean(1).sqrt()


def require_finite(name: str, tensor: Tensor, hint: str = "") -> Tensor:
    """Return `tensor`, or stop if it holds NaN or Inf.

    Raises:
        NonFiniteError: Naming the tensor, how many of its values are bad, and the hint.
    """
    require_all_finite({name: tensor}, hint)
    return tensor


def require_all_finite(tensors: Mapping[str, Tensor], hint: str = "") -> None:
    """Stop at the first of several tensors that holds NaN or Inf; a GPU is waited for
    once for them all.

    Raises:
        NonFiniteError: Naming the tensor, how many of its values are bad, and the hint.
    """
    whole = torch.stack([tensor.isfinite().all() for tensor in tensors.values()])
    for (name, tensor), finite in zip(tensors.items(), whole.tolist(), strict=True):
        if not finite:
            bad = int((~tensor.isfinite()).sum())
            raise NonFiniteError(f"{name}: {bad} of {tensor.numel()} values are NaN or Inf. {hint}".rstrip())
