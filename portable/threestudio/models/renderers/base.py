"""Bases of renderers."""

from dataclasses import dataclass
from typing import Any

import torch
from threestudio.utils.base import BaseModule
from torch import Tensor, nn


@dataclass
class Scene:
    """Modules that are rendered or exported; a plain object, so that the system alone
    registers them.
    """

    geometry: nn.Module
    material: nn.Module
    background: nn.Module


class HoldsScene:
    """Names the modules of a `Scene`."""

    sub_modules: Scene

    @property
    def geometry(self) -> nn.Module:
        return self.sub_modules.geometry

    @property
    def material(self) -> nn.Module:
        return self.sub_modules.material

    @property
    def background(self) -> nn.Module:
        return self.sub_modules.background


class Renderer(HoldsScene, BaseModule):
    """Pictures of a scene."""

    @dataclass
    class Config(BaseModule.Config):
        radius: float = 1.0  # half the side of the box that is rendered

    cfg: Config

    def configure(self, geometry: nn.Module, material: nn.Module, background: nn.Module) -> None:
        self.sub_modules = Scene(geometry, material, background)
        r = self.cfg.radius
        self.register_buffer("bbox", torch.tensor([[-r, -r, -r], [r, r, r]], dtype=torch.float32))

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        raise NotImplementedError


class VolumeRenderer(Renderer):
    """A renderer that integrates along rays."""
