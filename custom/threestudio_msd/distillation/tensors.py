"""Small helpers on batches of tensors of any shape `[B, ...]`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..errors import NonFiniteError
from .protocols import Batch, PerSample


def on_device(value: float | Tensor, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """Convert a number or tensor to a tensor on a device; a GPU need not be waited for.

    A CPU tensor is copied to a GPU through pinned memory.

    Args:
        value: A number, or a tensor of any shape.
        device: Device of the result.
        dtype: Dtype of the result.

    Returns:
        A tensor shaped like `value`; 0-d for a number.
    """
    if not isinstance(value, Tensor):
        return torch.full((), value, dtype=dtype, device=device)
    if device.type == "cuda" and value.device.type == "cpu":
        return value.to(dtype).pin_memory().to(device, non_blocking=True)
    return value.to(device, dtype)


def expand(value: float | Tensor, like: Batch) -> Tensor:
    """Shape a scalar or one value per sample so that it broadcasts against a batch.

    Args:
        value: A number, a 0-d tensor, or `[B]`.
        like: The batch, `[B, ...]`.

    Returns:
        `value` as a tensor `[1, 1, ...]` or `[B, 1, ...]` with as many dimensions as
        `like`, on its device and in its dtype.

    Raises:
        ValueError: `value` holds neither one number nor B.
    """
    value = on_device(value, like.device, like.dtype)
    if value.numel() not in (1, like.shape[0]):
        raise ValueError(
            f"expected one value or {like.shape[0]} (one a sample), got shape {tuple(value.shape)}"
        )
    return value.reshape(-1, *[1] * (like.ndim - 1))


def rms(x: Batch) -> PerSample:
    """Return the root mean square of every sample's entries, `[B, ...]` to `[B]`."""
    return x.flatten(1).square().mean(1).sqrt()


def require_finite(name: str, tensor: Tensor, hint: str = "") -> Tensor:
    """Return `tensor` unchanged if all its values are finite.

    Args:
        name: What the message calls the tensor.
        tensor: Any shape.
        hint: Advice to the user, at the message's end.

    Raises:
        NonFiniteError: The tensor holds NaN or Inf; the message says in how many of its
            values.
    """
    require_all_finite({name: tensor}, hint)
    return tensor


def require_all_finite(tensors: Mapping[str, Tensor], hint: str = "") -> None:
    """Check that several tensors are finite; a GPU is waited for once for all of them.

    Args:
        tensors: Tensors of any shape, by the names that the message calls them.
        hint: Advice to the user, at the message's end.

    Raises:
        NonFiniteError: A tensor holds NaN or Inf; the message names the first one, and
            says in how many of its values.
    """
    whole = torch.stack([tensor.isfinite().all() for tensor in tensors.values()])
    for (name, tensor), finite in zip(tensors.items(), whole.tolist(), strict=True):
        if not finite:
            bad = int((~tensor.isfinite()).sum())
            raise NonFiniteError(f"{name}: {bad} of {tensor.numel()} values are NaN or Inf. {hint}".rstrip())
