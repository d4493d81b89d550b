"""Checks of torch's optimisers and learning-rate schedulers: each is made, and asked for its rates."""

import importlib.util
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from threestudio_msd.errors import UserError, did_you_mean
from threestudio_msd.fields import listed, shown
from torch import nn
from torch.optim import lr_scheduler

from launcher.checks.rules import attempt, check_arguments, check_names, parameters, require_mapping

THREESTUDIOS_OWN = {"Adan": "threestudio.systems.optimizers", "FusedAdam": "apex"}  # optimisers not of torch
SEQUENCES = ("SequentialLR", "Sequential", "ChainedScheduler")  # schedulers that hold others
PROBES = 64  # steps of a run at which a scheduler's rates are looked at


def check_optimizer(system: Mapping[str, Any], steps: int = -1) -> None:
    """Checks `optimizer` and `scheduler` of a system's settings.

    Args:
        system: The settings.
        steps: The length of the optimisation; -1 for without end.

    Raises:
        UserError: A key or a value is wrong; the message has the full key.
    """
    key, settings = "system.optimizer", system.get("optimizer")
    require_mapping(key, settings)
    check_names(key, settings, ("name", "args", "params"))
    cls = _class(f"{key}.name", settings.get("name"), torch.optim, torch.optim.Optimizer, THREESTUDIOS_OWN)
    args, groups = settings.get("args", {}), settings.get("params", {})
    require_mapping(f"{key}.args", args)
    require_mapping(f"{key}.params", groups)
    if "params" in settings and not groups:
        raise UserError(f"{key}.params: expected at least one module to optimise, such as geometry")
    if cls is not None:
        _check_group(f"{key}.args", cls, args, {})
    for name, group in groups.items():
        if not isinstance(name, str):
            raise UserError(f"{key}.params.{name}: expected the name of a module, such as geometry")
        require_mapping(f"{key}.params.{name}", group)
        if cls is not None:
            _check_group(f"{key}.params.{name}", cls, group, args)
    if system.get("scheduler") is not None:
        _check_scheduler(
            "system.scheduler", system["scheduler"], partial(_optimizer, cls, args, groups), steps
        )


def _optimizer(cls: type | None, args: Mapping[str, Any], groups: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Makes the optimiser on one parameter a group; another package's is stood in for by AdamW."""
    made = [{"params": [nn.Parameter(torch.zeros(1))], **group} for group in (groups or {"": {}}).values()]
    return cls(made, **args) if cls else torch.optim.AdamW(made)


def _check_group(key: str, cls: type, args: Mapping[str, Any], outer: Mapping[str, Any]) -> None:
    check_names(key, args, [name for name in parameters(cls) if name != "params"])
    check_arguments(key, cls, args, {})

    def step(**given: Any) -> None:
        parameter = nn.Parameter(torch.zeros(1, device="cuda" if torch.cuda.is_available() else "cpu"))
        parameter.grad = torch.zeros_like(parameter)
        cls([parameter], **{**outer, **given}).step()

    attempt(key, step, args)


def _check_scheduler(key: str, settings: Any, make: Callable[[], torch.optim.Optimizer], steps: int) -> None:
    require_mapping(key, settings)
    check_names(key, settings, ("name", "interval", "args", "schedulers", "milestones"))
    if settings.get("interval", "epoch") not in ("epoch", "step"):
        raise UserError(f"{key}.interval: expected epoch or step, got {shown(settings['interval'])}")
    name = settings.get("name")
    if name in SEQUENCES:
        return _check_sequence(key, name, settings, make)
    cls = _class(f"{key}.name", name, lr_scheduler, lr_scheduler.LRScheduler, {})
    if name == "ReduceLROnPlateau":
        raise UserError(f"{key}.name: {name} waits for a monitored metric, which threestudio does not have")
    args = settings.get("args", {})
    require_mapping(f"{key}.args", args)
    check_names(f"{key}.args", args, [name for name in parameters(cls) if name != "optimizer"])
    if "milestones" in args:
        _require_milestones(f"{key}.args.milestones", args["milestones"])
    length = steps if settings.get("interval") == "step" else 1  # data without end is a single epoch

    def try_rates(**given: Any) -> None:
        optimizer = make()
        scheduler = cls(optimizer, **given)
        for step in sorted({1, *(max(1, length) * probe // PROBES for probe in range(PROBES + 1))}):
            scheduler.last_epoch = step
            rates = getattr(scheduler, "_get_closed_form_lr", scheduler.get_lr)()
            if not all(0 <= rate < math.inf for rate in rates):
                raise ValueError(f"makes the learning rate {min(rates):g} at step {step}")

    attempt(f"{key}.args", try_rates, args)


def _check_sequence(
    key: str, name: str, settings: Mapping[str, Any], make: Callable[[], torch.optim.Optimizer]
) -> None:
    parts = settings.get("schedulers")
    if not isinstance(parts, list) or not parts:
        raise UserError(f"{key}.schedulers: expected a list of schedulers, got {shown(parts)}")
    for i, part in enumerate(parts):
        _check_scheduler(f"{key}.schedulers[{i}]", part, make, 1)  # each is for a part of the run only
    if name != "ChainedScheduler":
        milestones = settings.get("milestones")
        _require_milestones(f"{key}.milestones", milestones)
        if len(milestones) != len(parts) - 1:
            raise UserError(
                f"{key}.milestones: expected {len(parts) - 1}, one between two schedulers, "
                f"got {shown(milestones)}"
            )


def _require_milestones(key: str, steps: Any) -> None:
    numbers = steps if isinstance(steps, list) else [None]
    if not all(type(step) is int and step >= 1 for step in numbers) or numbers != sorted(numbers):
        raise UserError(f"{key}: expected ascending integers of at least 1, got {shown(steps)}")


def _class(key: str, name: Any, module: Any, base: type, others: Mapping[str, str]) -> type | None:
    """Returns the class of a module by name; None for one of `others`, which other packages have."""
    there = {
        n: cls
        for n, cls in vars(module).items()
        if isinstance(cls, type) and issubclass(cls, base) and cls is not base
    }
    if isinstance(name, str) and name in there:
        return there[name]
    if isinstance(name, str) and name in others:
        if not is_importable(others[name]):
            raise UserError(
                f"{key}: {name} needs {others[name]}, which is not there; known: {listed(sorted(there))}"
            )
        return None
    near = did_you_mean(name, there) or f"; it has {listed(sorted(there))}"
    raise UserError(f"{key}: {module.__name__} has no {shown(name)}{near}")


def is_importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


def drop_foreign_arguments(optimizer: Any) -> list[str]:
    """Removes arguments that an optimiser lacks and another one has, as an overridden `name` leaves them.

    Args:
        optimizer: The settings of `system.optimizer`, changed in place; malformed ones are left as they are.

    Returns:
        The arguments removed.
    """
    cls = getattr(torch.optim, str(optimizer.get("name")), None) if isinstance(optimizer, dict) else None
    if not isinstance(cls, type):
        return []
    optimizers = [c for c in vars(torch.optim).values() if isinstance(c, type)]
    foreign = {name for c in optimizers for name in parameters(c)} - set(parameters(cls))
    groups = optimizer.get("params")
    blocks = [optimizer.get("args"), *(groups.values() if isinstance(groups, dict) else ())]
    found = [(block, name) for block in blocks if isinstance(block, dict) for name in foreign & block.keys()]
    for block, name in found:
        del block[name]
    return [name for _, name in found]
