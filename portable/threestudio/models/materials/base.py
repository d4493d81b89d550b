"""The base of materials."""

from typing import Any

from threestudio.utils.base import BaseModule
from torch import Tensor


class BaseMaterial(BaseModule):
    """From features at points to colours.

    Attributes:
        requires_normal: Whether `forward` wants normals.
    """

    requires_normal: bool = False
    requires_tangent: bool = False

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Colours `[..., 3]`."""
        raise NotImplementedError

    def export(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Textures by name, such as `albedo [..., 3]`."""
        return {}
