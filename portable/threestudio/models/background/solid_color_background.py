"""`solid-color-background`: one colour."""

from dataclasses import dataclass

import threestudio
import torch
from threestudio.models.background.base import AugmentedBackground
from torch import Tensor, nn


@threestudio.register("solid-color-background")
class SolidColorBackground(AugmentedBackground):
    """One colour, fixed or learned."""

    @dataclass
    class Config(AugmentedBackground.Config):
        color: tuple[float, float, float] = (1.0, 1.0, 1.0)
        learned: bool = False

    cfg: Config

    def configure(self) -> None:
        color = torch.tensor(tuple(self.cfg.color), dtype=torch.float32)
        if self.cfg.learned:
            self.env_color = nn.Parameter(color)
        else:
            self.register_buffer("env_color", color)

    def forward(self, dirs: Tensor) -> Tensor:
        flat = self.env_color.to(dirs) * dirs.new_ones(*dirs.shape[:-1], self.cfg.n_output_dims)
        return self.augmented(flat)
