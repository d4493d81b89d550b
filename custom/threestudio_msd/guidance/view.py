"""The input of a guidance module beside renders: the prompt, and the cameras of a
batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from ..distillation.protocols import PerSample

Renders = Float[Tensor, "B H W C"]
"""Renders in [0, 1], or scaled latents, channels last, as threestudio has both."""

Index = Int[Tensor, "B"]
"""Number of the particle or camera of each row, where the same ones come again."""


Layers = tuple[Renders, Renders]
"""Foreground and opacity of renders: on a background b they are foreground + (1 -
opacity) b.
"""


@dataclass(frozen=True)
class View:
    """The prompt, and the cameras that a batch of B renders was taken from.

    Attributes:
        prompt: A threestudio prompt processor's output.
        elevation: Degrees, `[B]`.
        azimuth: Degrees, `[B]`.
        camera_distances: World units, `[B]`.
        c2w: Camera to world matrices, `[B, 4, 4]`; None if the batch has none.
        mvp_mtx: Model-view-projection matrices, `[B, 4, 4]`; None if the batch has
            none.
        index: Particle or camera of each row, `[B]`; None for random views.
        layers: The renders' foreground, `[B, H, W, 3]`, and opacity, `[B, H, W, 1]`;
            None where the system does not hand them on, as `msd-scene` does.
        view_dependent: Whether the prompt may follow the camera.
    """

    prompt: Any
    elevation: PerSample
    azimuth: PerSample
    camera_distances: PerSample
    c2w: Float[Tensor, "B 4 4"] | None = None
    mvp_mtx: Float[Tensor, "B 4 4"] | None = None
    index: Index | None = None
    layers: Layers | None = None
    view_dependent: bool = True

    @classmethod
    def of(cls, prompt: Any, rgb: Tensor, batch: Mapping[str, Any]) -> View:
        """Make the view of a batch of renders from threestudio's batch.

        Args:
            prompt: A threestudio prompt processor's output.
            rgb: The renders, `[B, ...]`.
            batch: Cameras and `index` by the names of `View`; other keys are ignored.
                Missing angles and distances are 0, the front; other missing entries are
                None.
        """
        front = cls.front(prompt, rgb)
        given = {name: batch.get(name) for name in (*front.cameras, "c2w", "mvp_mtx", "index", "layers")}
        return replace(front, **{name: value for name, value in given.items() if value is not None})

    @classmethod
    def front(
        cls, prompt: Any, like: Tensor, index: Index | None = None, view_dependent: bool = True
    ) -> View:
        """Make a view of the front, with angles and distances 0.

        Args:
            prompt: A threestudio prompt processor's output.
            like: A tensor `[B, ...]`, for the number of rows, device and dtype.
            index: Number of the particle or camera of each row, `[B]`.
            view_dependent: Whether the prompt may follow the camera.
        """
        zeros = like.new_zeros(len(like))
        return cls(prompt, zeros, zeros, zeros, index=index, view_dependent=view_dependent)

    @property
    def cameras(self) -> dict[str, PerSample]:
        """`elevation`, `azimuth` and `camera_distances` by name, `[B]` each, in the
        order that threestudio's prompt processors take them.
        """
        return {name: getattr(self, name) for name in ("elevation", "azimuth", "camera_distances")}

    def rows(self, rows: list[int]) -> View:
        """Return the view of some rows only.

        Args:
            rows: Positions in the batch.
        """
        chosen: dict[str, Any] = {
            name: value[rows] for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **chosen)
