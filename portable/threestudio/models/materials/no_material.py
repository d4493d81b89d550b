"""`no-material`: colours without light."""

from dataclasses import dataclass
from typing import Any

import threestudio
from threestudio.models.materials.base import BaseMaterial
from threestudio.models.networks import get_mlp
from threestudio.utils.config import ConfigError
from threestudio.utils.ops import get_activation
from torch import Tensor


@threestudio.register("no-material")
class NoMaterial(BaseMaterial):
    """The features are the colour, or a network makes it of them."""

    @dataclass
    class Config(BaseMaterial.Config):
        n_output_dims: int = 3
        color_activation: str = "sigmoid"
        input_feature_dims: int | None = None  # of the network; null: no network
        mlp_network_config: dict | None = None
        requires_normal: bool = False

    cfg: Config

    def configure(self) -> None:
        cfg = self.cfg
        self.requires_normal = cfg.requires_normal
        self.use_network = cfg.input_feature_dims is not None and cfg.mlp_network_config is not None
        if self.use_network:
            self.network = get_mlp(cfg.input_feature_dims, cfg.n_output_dims, cfg.mlp_network_config)

    def forward(self, features: Tensor, **kwargs: Any) -> Tensor:
        """Features `[..., F]` to colours `[..., n_output_dims]`.

        Raises:
            ConfigError: There is no network, and F is not `n_output_dims`.
        """
        if self.use_network:
            features = self.network(features.flatten(0, -2)).unflatten(0, features.shape[:-1])
        elif features.shape[-1] != self.cfg.n_output_dims:
            raise ConfigError(
                f"system.material.n_output_dims is {self.cfg.n_output_dims}, "
                f"system.geometry.n_feature_dims is {features.shape[-1]}: "
                "without a network they must be equal"
            )
        return get_activation(self.cfg.color_activation)(features)

    def export(self, features: Tensor, **kwargs: Any) -> dict[str, Any]:
        return {"albedo": self(features)[..., :3].clamp(0, 1)}
