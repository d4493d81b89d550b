"""The processes that share a run's work, one a GPU, as Lightning's DDP starts them;
usually there is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from .errors import UserError


def place() -> tuple[int, int]:
    """Return this process's number and the number of processes; (0, 1) if nothing is
    distributed.
    """
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def share(count: int, key: str) -> slice:
    """Select the rows of a batch that this process works on: every n-th one, n being
    the number of processes.

    Args:
        count: Rows of the batch.
        key: The setting that the number comes from; a message begins with it.

    Returns:
        A slice of the rows; every process gets as many.

    Raises:
        UserError: `count` is no multiple of the number of processes.
    """
    mine, processes = place()
    if count % processes:
        raise UserError(
            f"{key}: expected a multiple of the {processes} processes that share the work, got {count}"
        )
    return slice(mine, None, processes)


def averaged(values: Mapping[str, float], device: torch.device) -> dict[str, float]:
    """Average numbers over all processes, in one exchange that every process must join.

    Args:
        values: Numbers by name, the same names in every process.
        device: Device that the exchange runs on.

    Returns:
        The means by name.
    """
    if place()[1] == 1 or not values:
        return dict(values)
    numbers = torch.tensor([*values.values()], dtype=torch.float64, device=device)
    dist.all_reduce(numbers)
    return dict(zip(values, (numbers / place()[1]).tolist(), strict=True))


def collected(state: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the states of all processes into one; every process must call it.

    Args:
        state: This process's state; its dicts hold entries of this process's rows only.

    Returns:
        The state with every dict united over the processes; other values are the first
        process's. Tensors are on the CPU if there are several processes.
    """
    if place()[1] == 1:
        return dict(state)
    states: list[Any] = [None] * place()[1]
    dist.all_gather_object(states, moved(state, torch.device("cpu")))
    return {name: united([one[name] for one in states]) for name in states[0]}


def united(values: Iterable[Any]) -> Any:
    """Merge one value of several processes: the union of dicts, else the first
    process's value.
    """
    first, *others = values
    if not isinstance(first, dict):
        return first
    return {key: value for one in (first, *others) for key, value in one.items()}


def moved(value: Any, device: torch.device) -> Any:
    """Copy a nested value with its tensors on a device.

    Args:
        value: A tensor, or a mapping of such values; anything else is returned
            unchanged.
        device: The device.
    """
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {key: moved(one, device) for key, one in value.items()}
    return value
