"""The base of exporters."""

from dataclasses import dataclass
from typing import Any

from threestudio.models.renderers.base import HoldsScene, Scene
from threestudio.utils.base import BaseObject
from torch import nn


@dataclass
class ExporterOutput:
    """A file to write: the system's `save_TYPE` is called with the name and the
    parameters.
    """

    save_name: str
    save_type: str
    params: dict[str, Any]


class Exporter(HoldsScene, BaseObject):
    """From a scene to files."""

    @dataclass
    class Config(BaseObject.Config):
        save_video: bool = False

    cfg: Config

    def configure(self, geometry: nn.Module, material: nn.Module, background: nn.Module) -> None:
        self.sub_modules = Scene(geometry, material, background)

    def __call__(self) -> list[ExporterOutput]:
        raise NotImplementedError
