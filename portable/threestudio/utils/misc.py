"""Devices, ranks, scheduled scalars, weights of earlier runs."""

import gc
import math
import os
import sys
from itertools import pairwise
from typing import Any

import torch
from threestudio.utils.config import config_to_primitive, schedule_knots


def get_rank() -> int:
    """This process's rank, 0 when there is only one."""
    for key in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"):
        if key in os.environ:
            return int(os.environ[key])
    return 0


def get_device() -> torch.device:
    """This process's GPU, or the CPU if there is no GPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", get_rank() % torch.cuda.device_count())


def load_module_weights(
    path: str,
    module_name: str | None = None,
    ignore_modules: list[str] | None = None,
    map_location: Any = None,
) -> tuple[dict, int, int]:
    """Weights from a checkpoint, read as tensors only (nothing in the file is
    executed).

    Args:
        path: A Lightning checkpoint.
        module_name: Return only this module's weights, under names relative to it.
        ignore_modules: Leave these modules' weights out.
        map_location: As for `torch.load`; this process's device by default.

    Returns:
        The state dict, the epoch and the global step of the checkpoint.

    Raises:
        ValueError: Both `module_name` and `ignore_modules` are given.
    """
    if module_name is not None and ignore_modules is not None:
        raise ValueError("module_name and ignore_modules cannot both be given")
    location = get_device() if map_location is None else map_location
    ckpt = torch.load(path, map_location=location, weights_only=True)
    weights = ckpt["state_dict"]
    if module_name is not None:
        prefix = f"{module_name}."
        weights = {
            key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)
        }
    if ignore_modules is not None:
        ignored = tuple(f"{module}." for module in ignore_modules)
        weights = {key: value for key, value in weights.items() if not key.startswith(ignored)}
    return weights, ckpt["epoch"], ckpt["global_step"]


def C(value: Any, epoch: int, global_step: int, interpolation: str = "linear") -> float:
    """A scheduled scalar's value now.

    Args:
        value: A number; `[v0, v1, end]`; `[start, v0, v1, end]`; or more pairs
            `v, step` behind those four, which makes it piecewise. It is constant before
            the first step and after the last.
        epoch: What float steps are compared with.
        global_step: What integer steps are compared with.
        interpolation: Between two knots, "linear" or "exp" (linear in the logarithm).

    Raises:
        ConfigError: The value is malformed.
        ValueError: The interpolation is unknown.

    Example:
        >>> C([100, 1.0, 0.0, 200], epoch=0, global_step=150)
        0.5
    """
    knots = schedule_knots(config_to_primitive(value))
    if interpolation not in ("linear", "exp"):
        raise ValueError(f"unknown interpolation '{interpolation}': only linear and exp")
    if len(knots) == 1:
        return knots[0][1]
    segments = list(pairwise(knots))
    # the last segment that has begun; before the first one begins, the first
    begun = (s for s in reversed(segments) if _now(s[0], epoch, global_step) >= s[0][0])
    (start, v0), (end, v1) = next(begun, segments[0])
    now = _now((end, v1), epoch, global_step)
    t = float(now >= end) if end == start else max(min(1.0, (now - start) / (end - start)), 0.0)
    if interpolation == "exp":
        return math.exp(math.log(v0) * (1 - t) + math.log(v1) * t)
    return v0 + (v1 - v0) * t


def _now(knot: tuple[Any, float], epoch: int, global_step: int) -> int:
    return epoch if isinstance(knot[0], float) else global_step


def cleanup() -> None:
    """Give unused memory back, the GPU's included."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if "tinycudann" in sys.modules:
        sys.modules["tinycudann"].free_temporary_memory()


def barrier() -> None:
    """Wait for the other processes, if there are any."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


def find_last_path(path: str | None) -> str | None:
    """Replace `LAST` in a path by the latest folder (by name) that fits:
    `runs/a_cat@LAST/ckpts/last.ckpt`.

    Raises:
        FileNotFoundError: Nothing fits.
    """
    if path is None or "LAST" not in path:
        return path
    prefix, suffix = path.replace(" ", "_").split("LAST", 1)
    folder, start = os.path.split(prefix)
    names = sorted((name for name in os.listdir(folder or ".") if name.startswith(start)), reverse=True)
    found = os.path.join(folder, names[0]) + suffix if names else path
    if not names or not os.path.exists(found):
        raise FileNotFoundError(found)
    return found
