"""The settings of torch's optimisers and schedulers, and the weights of losses."""

import importlib.util
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from threestudio_msd.errors import UserError, did_you_mean
from threestudio_msd.fields import Range, check_value, listed, number, scheduled, shown
from torch import nn
from torch.optim import lr_scheduler

from launcher.rules import attempt, check_arguments, check_names, parameters, require_mapping

THREESTUDIOS_OWN = {"Adan": "threestudio.systems.optimizers", "FusedAdam": "apex"}  # optimisers not of torch
SEQUENCES = ("SequentialLR", "Sequential", "ChainedScheduler")  # schedulers that hold others
BETA = Range(least=0, below=1)

# torch annotates few of these as what a config may hold
OPTIMIZER = {
    "lr": (float, number(least=0)),
    "eps": (float, number(least=0)),
    "weight_decay": (float, number(least=0)),
    "momentum": (float, number(least=0)),
    "dampening": (float, number()),
    "lr_decay": (float, number(least=0)),
    "rho": (float, number(least=0, most=1)),
    "alpha": (float, number(least=0)),
    "momentum_decay": (float, number(least=0)),
    "lambd": (float, number(least=0)),
}
SCHEDULER = {
    "gamma": (float, number(above=0)),
    "start_factor": (float, number(above=0, most=1)),
    "end_factor": (float, number(least=0, most=1)),
    "factor": (float, number(least=0, most=1)),
    "total_iters": (int, number(least=1)),
    "step_size": (int, number(least=1)),
    "T_max": (int, number(least=1)),
    "T_0": (int, number(least=1)),
    "T_mult": (int, number(least=1)),
    "eta_min": (float, number(least=0)),
    "power": (float, number(least=0)),
    "last_epoch": (int, number(least=-1, most=-1)),
    "total_steps": (int | None, number(least=1)),
    "epochs": (int | None, number(least=1)),
    "steps_per_epoch": (int | None, number(least=1)),
    "pct_start": (float, number(least=0, most=1)),
    "div_factor": (float, number(above=0)),
    "final_div_factor": (float, number(above=0)),
    "step_size_up": (int, number(least=1)),
    "step_size_down": (int | None, number(least=1)),
}
RATES = ("max_lr", "base_lr")
LONGEST_TRIAL = 10_000  # steps that a scheduler is tried for


@dataclass(frozen=True)
class Trial:
    """How a scheduler is tried: on an optimiser as it is set, stepped as often as the run will.

    Attributes:
        optimizer: The settings of `system.optimizer`, which are right.
        steps: Of the run; nothing is stepped where it is 0 or less.
    """

    optimizer: Mapping[str, Any]
    steps: int

    def run(self, make: Callable[..., Any], **settings: Any) -> None:
        """Make a scheduler and step it.

        Raises:
            ValueError: It makes a learning rate that is negative, NaN or infinite.
            Exception: Whatever it raises.
        """
        cls, args = getattr(torch.optim, self.optimizer["name"], None), self.optimizer.get("args", {})
        groups = [
            {"params": [nn.Parameter(torch.zeros(1))], **group}
            for group in (self.optimizer.get("params") or {"": {}}).values()
        ]
        optimizer = cls(groups, **args) if cls else torch.optim.AdamW(groups)  # for one of another package
        scheduler = make(optimizer, **settings)
        for step in range(self.steps):
            scheduler.step()
            rate = optimizer.param_groups[0]["lr"]
            if not 0 <= rate < math.inf:
                raise ValueError(f"makes the learning rate {rate:g} at step {step + 1}")


def check_optimisation(system: Mapping[str, Any], steps: int = -1) -> None:
    """Check `optimizer`, `scheduler`, `loss` and `loggers` of a system's settings.

    Args:
        system: The settings.
        steps: How long the optimisation is; -1 for without end.

    Raises:
        UserError: What is wrong, with the full key.
    """
    _check_optimizer("system.optimizer", system.get("optimizer"))
    if system.get("scheduler") is not None:
        trial = Trial(system["optimizer"], min(steps, LONGEST_TRIAL))
        _check_scheduler("system.scheduler", system["scheduler"], trial)
    losses = system.get("loss", {})
    require_mapping("system.loss", losses)
    for name, value in losses.items():
        check_value(f"system.loss.{name}", value, Any, scheduled().metadata)
    _check_loggers("system.loggers", system.get("loggers", {}))


def drop_foreign_arguments(optimizer: Any) -> list[str]:
    """Remove arguments that an optimiser of torch lacks and another one has: what a changed `name` leaves
    behind.

    Args:
        optimizer: The settings of `system.optimizer`, changed in place; anything odd is left as it is.

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
    dropped = []
    for block in filter(lambda block: isinstance(block, dict), blocks):
        dropped += [name for name in block if name in foreign]
        for name in foreign & set(block):
            del block[name]
    return dropped


def _check_loggers(key: str, settings: Any) -> None:
    require_mapping(key, settings)
    check_names(key, settings, ("wandb",))
    for name, logger in settings.items():
        require_mapping(f"{key}.{name}", logger)
        check_names(f"{key}.{name}", logger, ("enable", "project", "name"))
        check_value(f"{key}.{name}.enable", logger.get("enable", False), bool, {})
        for text in ("project", "name") if logger.get("enable") else ():
            check_value(f"{key}.{name}.{text}", logger.get(text), str, {})
        if logger.get("enable") and not _is_importable(name):
            raise UserError(f"{key}.{name}.enable: the package '{name}' is missing; pip install {name}")


def _check_optimizer(key: str, settings: Any) -> None:
    require_mapping(key, settings)
    check_names(key, settings, ("name", "args", "params"))
    cls = _class(f"{key}.name", settings.get("name"), torch.optim, torch.optim.Optimizer, THREESTUDIOS_OWN)
    args, groups = settings.get("args", {}), settings.get("params", {})
    require_mapping(f"{key}.args", args)
    require_mapping(f"{key}.params", groups)
    if "params" in settings and not groups:
        raise UserError(f"{key}.params: expected at least one module to optimise, such as geometry")
    if cls is None:
        return
    _check_group(f"{key}.args", cls, args, {})
    for name, group in groups.items():
        if not isinstance(name, str):
            raise UserError(f"{key}.params.{name}: expected the name of a module, such as geometry")
        require_mapping(f"{key}.params.{name}", group)
        _check_group(f"{key}.params.{name}", cls, group, args)


def _check_group(key: str, cls: type, args: Mapping[str, Any], outer: Mapping[str, Any]) -> None:
    check_names(key, args, [name for name in parameters(cls) if name != "params"])
    check_arguments(key, cls, args, OPTIMIZER)
    _check_betas(f"{key}.betas", args.get("betas", [0.0]))

    def step(**given: Any) -> None:
        parameter = nn.Parameter(torch.zeros(1, device="cuda" if torch.cuda.is_available() else "cpu"))
        parameter.grad = torch.zeros_like(parameter)
        cls([parameter], **{**outer, **given}).step()

    attempt(key, step, args)


def _check_betas(key: str, betas: Any) -> None:
    numbers = betas if isinstance(betas, list) else [None]
    if not all(isinstance(n, (int, float)) and not isinstance(n, bool) and n in BETA for n in numbers):
        raise UserError(f"{key}: expected a list of numbers {BETA}, got {shown(betas)}")


def _check_scheduler(key: str, settings: Any, trial: Trial) -> None:
    require_mapping(key, settings)
    check_names(key, settings, ("name", "interval", "args", "schedulers", "milestones"))
    if settings.get("interval", "epoch") not in ("epoch", "step"):
        raise UserError(f"{key}.interval: expected epoch or step, got {shown(settings['interval'])}")
    name = settings.get("name")
    if name in SEQUENCES:
        return _check_sequence(key, name, settings, trial)
    cls = _class(f"{key}.name", name, lr_scheduler, lr_scheduler.LRScheduler, {})
    if name == "ReduceLROnPlateau":
        raise UserError(f"{key}.name: {name} waits for a monitored metric, which threestudio does not have")
    steps = trial.steps if settings.get("interval") == "step" else 0  # data without end is a single epoch
    _check_scheduler_arguments(f"{key}.args", cls, settings.get("args", {}), replace(trial, steps=steps))


def _check_scheduler_arguments(key: str, cls: type, args: Any, trial: Trial) -> None:
    require_mapping(key, args)
    known = {name: parameter for name, parameter in parameters(cls).items() if name != "optimizer"}
    check_names(key, args, known)
    for name, parameter in known.items():
        if parameter.default is inspect.Parameter.empty and name not in args:
            raise UserError(f"{key}.{name}: no value is given, and {cls.__name__} needs one")
    check_arguments(key, cls, args, SCHEDULER)
    for name in RATES:
        _check_rates(f"{key}.{name}", args.get(name, 1.0))
    if "milestones" in args and not _are_milestones(args["milestones"]):
        raise UserError(f"{key}.milestones: expected ascending integers, got {shown(args['milestones'])}")
    attempt(key, partial(trial.run, cls), args)


def _check_rates(key: str, rates: Any) -> None:
    """Check one learning rate, or one a group of parameters."""
    for rate in rates if isinstance(rates, list) and rates else [rates]:
        check_value(key, rate, float, number(least=0).metadata)


def _check_sequence(key: str, name: str, settings: Mapping[str, Any], trial: Trial) -> None:
    parts = settings.get("schedulers")
    if not isinstance(parts, list) or not parts:
        raise UserError(f"{key}.schedulers: expected a list of schedulers, got {shown(parts)}")
    for i, part in enumerate(parts):
        _check_scheduler(f"{key}.schedulers[{i}]", part, replace(trial, steps=0))  # each for a part only
    milestones = settings.get("milestones")
    if name != "ChainedScheduler" and not (_are_milestones(milestones) and len(milestones) == len(parts) - 1):
        raise UserError(
            f"{key}.milestones: expected {len(parts) - 1} ascending integers, one between two schedulers, "
            f"got {shown(milestones)}"
        )


def _are_milestones(steps: Any) -> bool:
    if not isinstance(steps, list):
        return False
    return all(type(step) is int and step >= 1 for step in steps) and steps == sorted(steps)


def _class(key: str, name: Any, module: Any, base: type, others: Mapping[str, str]) -> type | None:
    """The class of a module by name; None for one of `others`, which come from packages of their own."""
    there = {n: cls for n, cls in vars(module).items() if _is_below(cls, base)}
    if not isinstance(name, str):
        raise UserError(f"{key}: expected the name of a class of {module.__name__}, got {shown(name)}")
    if name in there:
        return there[name]
    if name in others and _is_importable(others[name]):
        return None
    if name in others:
        raise UserError(
            f"{key}: {name} needs {others[name]}, which is not there; known: {listed(sorted(there))}"
        )
    near = did_you_mean(name, there) or f"; it has {listed(sorted(there))}"
    raise UserError(f"{key}: {module.__name__} has no {shown(name)}{near}")


def _is_below(cls: Any, base: type) -> bool:
    return isinstance(cls, type) and issubclass(cls, base) and cls is not base


def _is_importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False
