"""Encodings without a grid, and the choice by name."""

import math
from typing import Any

import torch
from tinycudann.grid import Grid
from torch import Tensor, nn


class Frequency(nn.Module):
    """sin(2^k pi x), cos(2^k pi x) for k < n_frequencies, input by input (NeRF, arXiv
    2003.08934).
    """

    def __init__(self, n_input_dims: int, config: dict[str, Any], generator: torch.Generator) -> None:
        super().__init__()
        frequencies = math.pi * 2.0 ** torch.arange(config.get("n_frequencies", 12))
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.n_output_dims = 2 * n_input_dims * len(frequencies)

    def forward(self, x: Tensor) -> Tensor:
        """[N, D] to [N, 2 D n_frequencies]."""
        angles = x[..., None] * self.frequencies
        return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


class SphericalHarmonics(nn.Module):
    """Real spherical harmonics Y_lm, l < degree, m = -l..l, of directions mapped from
    [-1, 1] to [0, 1].

    Raises:
        ValueError: There are not three input dimensions.
    """

    def __init__(self, n_input_dims: int, config: dict[str, Any], generator: torch.Generator) -> None:
        super().__init__()
        if n_input_dims != 3:
            raise ValueError(f"SphericalHarmonics takes 3 dimensions, not {n_input_dims}")
        self.degree = config.get("degree", 4)
        self.n_output_dims = self.degree**2

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3] to [N, degree^2]."""
        x, y, z = (2 * x - 1).unbind(-1)
        legendre = self._legendre(z)
        real, imaginary = [torch.ones_like(z)], [torch.zeros_like(z)]  # of (x + iy)^m
        for _ in range(1, self.degree):
            real, imaginary = (
                [*real, x * real[-1] - y * imaginary[-1]],
                [*imaginary, x * imaginary[-1] + y * real[-1]],
            )
        return torch.stack(
            [
                _norm(order, abs(m)) * legendre[order, abs(m)] * (imaginary[-m] if m < 0 else real[m])
                for order in range(self.degree)
                for m in range(-order, order + 1)
            ],
            dim=-1,
        )

    def _legendre(self, z: Tensor) -> dict[tuple[int, int], Tensor]:
        """P_l^m(z) / (1 - z^2)^(m/2), with the Condon-Shortley phase, by the usual
        recurrence in l.
        """
        p: dict[tuple[int, int], Tensor] = {}
        for m in range(self.degree):
            p[m, m] = (-1) ** m * math.prod(range(1, 2 * m, 2)) * torch.ones_like(z)
            if m + 1 < self.degree:
                p[m + 1, m] = (2 * m + 1) * z * p[m, m]
            for order in range(m + 2, self.degree):
                p[order, m] = ((2 * order - 1) * z * p[order - 1, m] - (order + m - 1) * p[order - 2, m]) / (
                    order - m
                )
        return p


def _norm(order: int, m: int) -> float:
    ratio = math.factorial(order - m) / math.factorial(order + m)
    return math.sqrt((2 * order + 1) / (4 * math.pi) * ratio * (2 if m else 1))


ENCODINGS = {
    "Grid": Grid,
    "Frequency": Frequency,
    "SphericalHarmonics": SphericalHarmonics,
}
GRID_TYPES = {"HashGrid": "Hash", "DenseGrid": "Dense"}


def build_encoding(n_input_dims: int, config: dict[str, Any], generator: torch.Generator) -> nn.Module:
    """The encoding that `config["otype"]` names.

    Raises:
        ValueError: It is unknown.
    """
    otype = config["otype"]
    if otype in GRID_TYPES:
        return Grid(n_input_dims, {**config, "type": GRID_TYPES[otype]}, generator)
    if otype not in ENCODINGS:
        raise ValueError(f"unknown encoding '{otype}': only {', '.join([*ENCODINGS, *GRID_TYPES])}")
    return ENCODINGS[otype](n_input_dims, config, generator)
