"""Optimisers and learning-rate schedulers from configs."""

from typing import Any

import torch
from omegaconf import DictConfig
from threestudio.utils.config import ConfigError, config_to_primitive
from torch import nn
from torch.optim import lr_scheduler


def getattr_recursive(m: Any, attr: str) -> Any:
    for name in attr.split("."):
        m = getattr(m, name)
    return m


def get_parameters(model: nn.Module, name: str) -> Any:
    """The parameters under a dotted name: a module's, or the parameter itself.

    Raises:
        ConfigError: Nothing of this name has parameters.
    """
    try:
        found = getattr_recursive(model, name)
    except AttributeError as error:
        raise ConfigError(f"system.optimizer.params.{name}: the system has no such module") from error
    if isinstance(found, nn.Module):
        return found.parameters()
    if isinstance(found, nn.Parameter):
        return found
    raise ConfigError(f"system.optimizer.params.{name}: a {type(found).__name__} has no parameters")


def parse_optimizer(config: DictConfig, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser that a config describes.

    Args:
        config: `name` (of torch.optim), `args`, and optionally `params`: arguments per
            module (dotted names), in which case nothing else is optimised.
        model: Whose parameters.

    Raises:
        ConfigError: A module has no parameters.
    """
    optimizer = getattr(torch.optim, config.name)
    # plain containers: an optimiser's settings go into checkpoints, which hold tensors and primitives only
    settings = config_to_primitive(config)
    params = (
        [
            {"params": get_parameters(model, name), "name": name, **args}
            for name, args in settings["params"].items()
        ]
        if "params" in config
        else model.parameters()
    )
    return optimizer(params, **settings.get("args", {}))


def parse_scheduler_to_instance(config: DictConfig, optimizer: torch.optim.Optimizer) -> Any:
    """The scheduler that a config describes: `name` (of torch.optim.lr_scheduler) and
    `args`.

    `SequentialLR` (or `Sequential`) and `ChainedScheduler` hold further ones in
    `schedulers`.
    """
    if config.name in ("SequentialLR", "Sequential", "ChainedScheduler"):
        parts = [parse_scheduler_to_instance(part, optimizer) for part in config.schedulers]
        if config.name == "ChainedScheduler":
            return lr_scheduler.ChainedScheduler(parts)
        return lr_scheduler.SequentialLR(optimizer, parts, milestones=list(config.milestones))
    scheduler = getattr(lr_scheduler, config.name)
    return scheduler(optimizer, **config_to_primitive(config.get("args", {})))


def parse_scheduler(config: DictConfig, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The scheduler in the form that Lightning takes, with its `interval`, "epoch"
    (default) or "step".
    """
    interval = config.get("interval", "epoch")
    return {"scheduler": parse_scheduler_to_instance(config, optimizer), "interval": interval}
