"""The processes that share a run's work, one a GPU, as Lightning's DDP starts them; usually there is one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from .errors import UserError


def place() -> tuple[int, int]:
    """Which process this is, and how many there are."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def share(count: int, key: str) -> slice:
    """Which rows of a batch are this process's: all processes' shares are as large.

    Args:
        count: Rows.
        key: The setting that says so.

    Raises:
        UserError: They cannot be shared evenly.
    """
    mine, processes = place()
    if count % processes:
        raise UserError(
            f"{key}: expected a multiple of the {processes} processes that share the work, got {count}"
        )
    return slice(mine, None, processes)


def averaged(values: Mapping[str, float], device: torch.device) -> dict[str, float]:
    """Numbers, averaged over all processes in one exchange."""
    if place()[1] == 1 or not values:
        return dict(values)
    numbers = torch.tensor([*values.values()], dtype=torch.float64, device=device)
    dist.all_reduce(numbers)
    return dict(zip(values, (numbers / place()[1]).tolist(), strict=True))


def collected(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state whose dicts hold what each process knows of its own rows, as if one knew all.

    Dicts are united; of everything else, the first process's counts.
    """
    if place()[1] == 1:
        return dict(state)
    states: list[Any] = [None] * place()[1]
    dist.all_gather_object(states, moved(state, torch.device("cpu")))
    return {name: united([one[name] for one in states]) for name in states[0]}


def united(values: Iterable[Any]) -> Any:
    """One of several processes' values; see `collected`."""
    first, *others = values
    if not isinstance(first, dict):
        return first
    return {key: value for one in (first, *others) for key, value in one.items()}


def moved(value: Any, device: torch.device) -> Any:
    """A nested value with its tensors on a device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {key: moved(one, device) for key, one in value.items()}
    return value
