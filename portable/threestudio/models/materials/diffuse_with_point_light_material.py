"""`diffuse-with-point-light-material`: Lambertian shading under a point light and
ambient light.
"""

import random
from dataclasses import dataclass
from typing import Any

import threestudio
import torch
import torch.nn.functional as F
from threestudio.models.materials.base import BaseMaterial
from threestudio.utils.config import ConfigError
from threestudio.utils.ops import dot, get_activation
from torch import Tensor

SHADINGS = ("albedo", "textureless", "diffuse")


@threestudio.register("diffuse-with-point-light-material")
class DiffuseWithPointLightMaterial(BaseMaterial):
    """DreamFusion's shading: in training each batch is shaded, or shown without light,
    or without texture.
    """

    @dataclass
    class Config(BaseMaterial.Config):
        ambient_light_color: tuple[float, float, float] = (0.1, 0.1, 0.1)
        diffuse_light_color: tuple[float, float, float] = (0.9, 0.9, 0.9)
        ambient_only_steps: int = 1000  # without light until this step
        diffuse_prob: float = 0.75  # of any light
        textureless_prob: float = 0.5  # of no texture, under light
        albedo_activation: str = "sigmoid"
        soft_shading: bool = False  # a random share of ambient light in training
        ambient_only_on_test: bool = False

    cfg: Config

    def configure(self) -> None:
        self.requires_normal = True
        for name in ("ambient_light_color", "diffuse_light_color"):
            self.register_buffer(name, torch.tensor(tuple(getattr(self.cfg, name)), dtype=torch.float32))
        self.ambient_only = False

    def forward(
        self,
        features: Tensor,
        positions: Tensor,
        shading_normal: Tensor,
        light_positions: Tensor,
        ambient_ratio: float | None = None,
        shading: str | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Colours `[..., 3]`.

        Args:
            features: Of which the first three are the albedo's, `[..., F]`.
            positions: World, `[..., 3]`.
            shading_normal: Unit vectors, `[..., 3]`.
            light_positions: World, `[..., 3]`.
            ambient_ratio: Share of ambient light in white light; None: the config's
                lights.
            shading: One of `SHADINGS`; None: as the config and the training step say.
            kwargs: Not used.

        Raises:
            ConfigError: The shading is unknown.
        """
        albedo = get_activation(self.cfg.albedo_activation)(features[..., :3])
        ambient, diffuse = self._lights(ambient_ratio)
        to_light = F.normalize(light_positions - positions, dim=-1)
        light = dot(shading_normal, to_light).clamp(min=0) * diffuse + ambient
        shading = self._shading() if shading is None else shading
        # what does not show is multiplied by 0, so that every parameter has a gradient
        if shading == "albedo":
            return albedo + light * 0
        if shading == "textureless":
            return albedo * 0 + light
        if shading == "diffuse":
            return albedo.clamp(0, 1) * light
        raise ConfigError(f"unknown shading '{shading}': only {', '.join(SHADINGS)}")

    def _lights(self, ambient_ratio: float | None) -> tuple[Tensor, Tensor]:
        """Ambient and diffuse light, `[3]` each."""
        ambient, diffuse = self.ambient_light_color, self.diffuse_light_color
        if ambient_ratio is None:
            if not (self.training and self.cfg.soft_shading):
                return ambient, diffuse
            ambient_ratio = 1 - random.random()
        return torch.full_like(ambient, ambient_ratio), torch.full_like(diffuse, 1 - ambient_ratio)

    def _shading(self) -> str:
        if not self.training:
            return "albedo" if self.ambient_only or self.cfg.ambient_only_on_test else "diffuse"
        if self.ambient_only or random.random() > self.cfg.diffuse_prob:
            return "albedo"
        return "textureless" if random.random() < self.cfg.textureless_prob else "diffuse"

    def update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        self.ambient_only = global_step < self.cfg.ambient_only_steps

    def export(self, features: Tensor, **kwargs: Any) -> dict[str, Any]:
        return {"albedo": get_activation(self.cfg.albedo_activation)(features[..., :3]).clamp(0, 1)}
