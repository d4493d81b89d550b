"""`neural-environment-map-background`: a small network of the direction."""

from dataclasses import dataclass, field

import threestudio
from threestudio.models.background.base import AugmentedBackground
from threestudio.models.networks import get_encoding, get_mlp
from threestudio.utils.ops import get_activation
from torch import Tensor


@threestudio.register("neural-environment-map-background")
class NeuralEnvironmentMapBackground(AugmentedBackground):
    """A network behind an encoding of the direction."""

    @dataclass
    class Config(AugmentedBackground.Config):
        color_activation: str = "sigmoid"
        dir_encoding_config: dict = field(
            default_factory=lambda: {"otype": "SphericalHarmonics", "degree": 3}
        )
        mlp_network_config: dict = field(
            default_factory=lambda: {
                "otype": "VanillaMLP",
                "activation": "ReLU",
                "n_neurons": 16,
                "n_hidden_layers": 2,
            }
        )
        eval_color: tuple[float, float, float] | None = None  # instead, in validation and test

    cfg: Config

    def configure(self) -> None:
        self.encoding = get_encoding(3, self.cfg.dir_encoding_config)
        self.network = get_mlp(
            self.encoding.n_output_dims, self.cfg.n_output_dims, self.cfg.mlp_network_config
        )

    def forward(self, dirs: Tensor) -> Tensor:
        if not self.training and self.cfg.eval_color is not None:
            ones = dirs.new_ones(*dirs.shape[:-1], self.cfg.n_output_dims)
            return ones * dirs.new_tensor(tuple(self.cfg.eval_color))
        color = self.network(self.encoding((dirs.reshape(-1, 3) + 1) / 2))
        color = get_activation(self.cfg.color_activation)(color.unflatten(0, dirs.shape[:-1]))
        return self.augmented(color)
