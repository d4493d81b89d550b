"""Base classes: objects that are configured by a dataclass and told about every
training step.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import DictConfig
from threestudio.utils.config import parse_structured
from threestudio.utils.misc import get_device, load_module_weights
from torch import nn


class Updateable:
    """An object that may change with the training step, along with the updateable
    objects that it holds.
    """

    def do_update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        """Tell the objects held, then this one, which step begins."""
        for child in self._updateable_children():
            child.do_update_step(epoch, global_step, on_load_weights=on_load_weights)
        self.update_step(epoch, global_step, on_load_weights=on_load_weights)

    def do_update_step_end(self, epoch: int, global_step: int) -> None:
        """Tell the objects held, then this one, which step has ended."""
        for child in self._updateable_children():
            child.do_update_step_end(epoch, global_step)
        self.update_step_end(epoch, global_step)

    def _updateable_children(self) -> Iterator["Updateable"]:
        held = dict(vars(self))
        if isinstance(self, nn.Module):
            held.update(self._modules)
        return (
            value
            for name, value in held.items()
            if not name.startswith("_") and isinstance(value, Updateable)
        )

    def update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        """Hook before each batch. With `on_load_weights`, tensors may still be on
        different devices.
        """

    def update_step_end(self, epoch: int, global_step: int) -> None:
        """Hook after each batch."""


def update_if_possible(module: Any, epoch: int, global_step: int) -> None:
    if isinstance(module, Updateable):
        module.do_update_step(epoch, global_step)


def update_end_if_possible(module: Any, epoch: int, global_step: int) -> None:
    if isinstance(module, Updateable):
        module.do_update_step_end(epoch, global_step)


class BaseObject(Updateable):
    """A configured object that is not a network; `configure` takes the place of a
    constructor.
    """

    @dataclass
    class Config:
        """Settings; subclasses add theirs."""

    cfg: Config

    def __init__(self, cfg: dict | DictConfig | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.cfg = parse_structured(self.Config, cfg)
        self.device = get_device()
        self.configure(*args, **kwargs)

    def configure(self, *args: Any, **kwargs: Any) -> None:
        """Hook: build what the object needs."""


class BaseModule(nn.Module, Updateable):
    """A configured network; `configure` takes the place of a constructor."""

    @dataclass
    class Config:
        weights: str | None = None  # "path/to/checkpoint:module name" to start from

    cfg: Config

    def __init__(self, cfg: dict | DictConfig | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.cfg = parse_structured(self.Config, cfg)
        self.device = get_device()
        self.configure(*args, **kwargs)
        if self.cfg.weights is not None:
            path, module_name = self.cfg.weights.rsplit(":", 1)
            weights, epoch, global_step = load_module_weights(
                path, module_name=module_name, map_location="cpu"
            )
            self.load_state_dict(weights)
            self.do_update_step(epoch, global_step, on_load_weights=True)
        self.register_buffer("_dummy", torch.zeros(0), persistent=False)

    def configure(self, *args: Any, **kwargs: Any) -> None:
        """Hook: build what the module needs."""
