"""Bases of backgrounds."""

import random
from dataclasses import dataclass

import torch
from threestudio.utils.base import BaseModule
from torch import Tensor


class BaseBackground(BaseModule):
    """A colour for every direction."""

    def forward(self, dirs: Tensor) -> Tensor:
        """Unit vectors `[B, H, W, 3]` to colours `[B, H, W, C]`."""
        raise NotImplementedError


class AugmentedBackground(BaseBackground):
    """A background that in training may be replaced by one random colour an image."""

    @dataclass
    class Config(BaseBackground.Config):
        n_output_dims: int = 3
        random_aug: bool = False
        random_aug_prob: float = 0.5

    cfg: Config

    def augmented(self, color: Tensor) -> Tensor:
        """`color [B, ..., C]`, or random colours in its place."""
        if not (self.training and self.cfg.random_aug and random.random() < self.cfg.random_aug_prob):
            return color
        flat = torch.rand(len(color), *[1] * (color.ndim - 2), self.cfg.n_output_dims).to(color)
        return color * 0 + flat  # every parameter keeps a gradient
