"""Encodings of 2D coordinates for many particles at once: `[N, 2]` to
`[P, N, n_output_dims]`.

Every particle has its own encoding, drawn from its own generator, so that it is the
same whatever the number of particles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import threestudio
import torch
import torch.nn.functional as F
from threestudio.utils.base import BaseModule
from torch import Tensor, nn

from ..fields import check_fields, number


def select(stacked: Tensor, index: Tensor | None) -> Tensor:
    """Return the rows `index` of a tensor with one row per particle; all rows if
    `index` is None.
    """
    return stacked if index is None else stacked[index]


@threestudio.register("msd-fourier-encoding")
class FourierEncoding(BaseModule):
    """Fourier features [cos 2 pi B v, sin 2 pi B v] of 2D points v, B ~ N(0, scale^2),
    one B per particle (Tancik et al., arXiv 2006.10739).

    Called with points, `[N, 2]`, and particles' numbers, it returns features, `[P, N,
    n_output_dims]`.
    """

    @dataclass
    class Config(BaseModule.Config):
        # rows of B; twice as many features
        n_frequencies: int = number(64, least=1)
        # standard deviation of the frequencies, in periods per image: larger shows finer detail, too large
        # shows noise
        scale: float = number(4.0, above=0)

        def __post_init__(self) -> None:
            check_fields(self)

    cfg: Config

    @staticmethod
    def size(cfg: Config) -> tuple[int, int]:
        """Return the features per point, and the numbers that the encoding stores per
        particle, for a `Config`.
        """
        return 2 * cfg.n_frequencies, 2 * cfg.n_frequencies

    def configure(self, generators: Sequence[torch.Generator]) -> None:
        rows = [torch.randn(2, self.cfg.n_frequencies, generator=g) * self.cfg.scale for g in generators]
        self.register_buffer("frequencies", torch.stack(rows))  # B^T, [P, 2, n_frequencies]
        self.n_output_dims, _ = self.size(self.cfg)

    def forward(self, coordinates: Tensor, index: Tensor | None = None) -> Tensor:
        """Encode points.

        Args:
            coordinates: Points, `[N, 2]`.
            index: Numbers of the particles, `[P]`; all by default.

        Returns:
            Features, `[P, N, n_output_dims]`.
        """
        angles = 2 * math.pi * select(self.frequencies, index).repeat(1, 1, 2)
        quarter_turns = torch.tensor([math.pi / 2, 0.0], device=angles.device).repeat_interleave(
            self.cfg.n_frequencies
        )
        # cos a = sin(a + pi / 2): one large tensor, where joining cosines and sines would make four
        return torch.baddbmm(quarter_turns, coordinates.expand(len(angles), -1, -1), angles).sin_()


@threestudio.register("msd-hashgrid-encoding")
class HashGridEncoding(BaseModule):
    """Multiresolution hash grid in 2D, one per particle (Müller et al., arXiv
    2201.05989), with tinycudann's names of settings.

    Called with points in [0, 1]^2, `[N, 2]`, and particles' numbers, it returns
    features, `[P, N, n_output_dims]`. All particles are looked up at the same vertices
    with the same weights, so one weighted look-up of rows that hold all particles'
    features side by side serves them all.
    """

    @dataclass
    class Config(BaseModule.Config):
        n_levels: int = number(8, least=1)
        n_features_per_level: int = number(2, least=1)
        # largest table of a level, log2; a level with fewer vertices has one entry a vertex
        log2_hashmap_size: int = number(15, least=1, most=30)
        # cells along an edge of the coarsest level, and the factor from level to level
        base_resolution: int = number(4, least=1)
        per_level_scale: float = number(1.5, least=1)

        def __post_init__(self) -> None:
            check_fields(self)

    cfg: Config

    @staticmethod
    def size(cfg: Config) -> tuple[int, int]:
        """Return the features per point, and the numbers that the encoding stores per
        particle, for a `Config`.
        """
        entries = sum(table_sizes(resolutions(cfg), cfg.log2_hashmap_size))
        return cfg.n_levels * cfg.n_features_per_level, entries * cfg.n_features_per_level

    def configure(self, generators: Sequence[torch.Generator]) -> None:
        cfg = self.cfg
        self.resolutions = resolutions(cfg)
        self.sizes = table_sizes(self.resolutions, cfg.log2_hashmap_size)
        shape = (sum(self.sizes), cfg.n_features_per_level)
        rows = [torch.empty(shape).uniform_(-1e-4, 1e-4, generator=g) for g in generators]
        self.tables = nn.Parameter(torch.stack(rows))  # [P, entries of all levels, n_features_per_level]
        self.n_output_dims, _ = self.size(cfg)

    def forward(self, coordinates: Tensor, index: Tensor | None = None) -> Tensor:
        """Encode points.

        Args:
            coordinates: Points in [0, 1]^2, `[N, 2]`.
            index: Numbers of the particles, `[P]`; all by default.

        Returns:
            Features, `[P, N, n_output_dims]`.
        """
        entries, weights = self.lookup(coordinates)
        tables = select(self.tables, index).transpose(0, 1)  # [entry, particle, feature]
        bags = F.embedding_bag(
            entries.flatten(0, 1), tables.flatten(1), per_sample_weights=weights.flatten(0, 1), mode="sum"
        )
        features = bags.reshape(
            len(self.sizes), len(coordinates), *tables.shape[1:]
        )  # [level, N, particle, feature]
        return features.permute(2, 1, 0, 3).flatten(2)

    def lookup(self, coordinates: Tensor) -> tuple[Tensor, Tensor]:
        """Find the four vertices around each point on each level.

        Args:
            coordinates: Points in [0, 1]^2, `[N, 2]`.

        Returns:
            The vertices' entries in the table, and their bilinear weights, `[n_levels,
            N, 4]` each.
        """
        corners = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]], device=coordinates.device)
        entries, weights, offset = [], [], 0
        for resolution, size in zip(self.resolutions, self.sizes, strict=True):
            position = coordinates * resolution
            cell = position.floor().clamp(0, resolution - 1)
            within = (position - cell)[:, None]
            x, y = (cell.long()[:, None] + corners).unbind(-1)
            dense = size == (resolution + 1) ** 2
            entries.append(offset + (x + y * (resolution + 1) if dense else (x ^ (y * 2654435761)) % size))
            weights.append(torch.where(corners.bool(), within, 1 - within).prod(-1))
            offset += size
        return torch.stack(entries), torch.stack(weights)


def resolutions(cfg: HashGridEncoding.Config) -> list[int]:
    """Return the cells along an edge of each level's grid, from the coarsest to the
    finest.
    """
    return [int(cfg.base_resolution * cfg.per_level_scale**level) for level in range(cfg.n_levels)]


def table_sizes(resolutions: list[int], log2_largest: int) -> list[int]:
    """Return the number of entries of each level's table: one per vertex, (resolution +
    1)^2, but at most 2^log2_largest.

    Args:
        resolutions: Cells along an edge, by level.
        log2_largest: Binary logarithm of the most entries that a level may have.
    """
    return [min((resolution + 1) ** 2, 2**log2_largest) for resolution in resolutions]
