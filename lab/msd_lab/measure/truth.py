"""`msd-truth-guidance`: true pictures in place of a prior, the upper bound of
distilling one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import threestudio
import torch
from threestudio.utils.base import BaseObject
from threestudio_msd.errors import UserError
from threestudio_msd.guidance.base import half_square
from torch import Tensor

from ..tinyworld.render import Cameras
from ..tinyworld.world import Caption, parse_prompt
from .views import true_views


@threestudio.register("msd-truth-guidance")
class TruthGuidance(BaseObject):
    """Fits renders to what the prompt's object looks like from their cameras; no
    network is evaluated.

    The same scene, cameras and steps with this in a prior's place say how much a scene
    of that kind can hold.
    """

    @dataclass
    class Config(BaseObject.Config):
        prompt: str = ""  # ${system.prompt_processor.prompt}

        def __post_init__(self) -> None:
            if not self.prompt:
                raise ValueError("prompt: expected an object of the tiny world, such as 'a red mug'")

    cfg: Config

    @classmethod
    def losses(cls) -> tuple[str, ...]:
        return ("truth",)

    @classmethod
    def check_experiment(cls, settings: Mapping[str, Any]) -> None:
        """Raise a `UserError` for a prompt that is not of the tiny world."""
        caption_of(str(settings["system"].get("guidance", {}).get("prompt", "")))

    def configure(self) -> None:
        self.caption = caption_of(self.cfg.prompt)
        self.cached: dict[int, Tensor] = {}

    def __call__(
        self,
        rgb: Tensor,
        prompt_utils: Any = None,
        *,
        elevation: Tensor,
        azimuth: Tensor,
        camera_distances: Tensor,
        fovy: Tensor,
        index: Tensor | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Turn renders into a loss.

        Args:
            rgb: Renders in [0, 1], square, `[B, H, H, 3]`.
            prompt_utils: Not used.
            elevation: Degrees, `[B]`.
            azimuth: Degrees, `[B]`.
            camera_distances: World units, `[B]`.
            fovy: Radians, `[B]`.
            index: Which camera each row is, if cameras recur: their truth is cached.
            **kwargs: The rest of the batch.

        Returns:
            `loss_truth`, half the squared difference, and `nfe`, which is 0.
        """
        cameras = Cameras(elevation, azimuth, camera_distances, torch.rad2deg(fovy))
        truth = self._truth(cameras, None if index is None else index.tolist(), rgb.shape[1]).to(rgb)
        return {"loss_truth": half_square(rgb, truth), "nfe": 0.0, "grad_norm": (rgb - truth).norm()}

    def _truth(self, cameras: Cameras, keys: list[int] | None, size: int) -> Tensor:
        seen = Cameras(*(angles.detach().float().cpu() for angles in vars(cameras).values()))
        if keys is None:
            return true_views(self.caption, seen, size)[0]
        new = [row for row, key in enumerate(keys) if key not in self.cached]
        if new:
            views = true_views(self.caption, seen[torch.tensor(new)], size)[0]
            self.cached |= {keys[row]: view for row, view in zip(new, views, strict=True)}
        return torch.stack([self.cached[key] for key in keys])


def caption_of(prompt: str) -> Caption:
    """Parse a prompt of the tiny world.

    Raises:
        UserError: It is not one.
    """
    try:
        return parse_prompt(prompt)
    except ValueError as error:
        raise UserError(f"system.guidance.prompt: {error}") from error
