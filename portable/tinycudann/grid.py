"""Multiresolution feature grids (Müller et al. 2022, arXiv 2201.05989), dense or
hashed.
"""

import itertools
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PRIMES = (1, 2654435761, 805459861, 3674653429, 2097192037, 1434869437, 2165219737)
UINT32 = 2**32 - 1


class Grid(nn.Module):
    """Features of every level, interpolated at the input and joined: [N, D] in [0, 1]
    to [N, n_levels F].

    Level l has scale s = base_resolution per_level_scale^l - 1; the input x lies at s x
    + 1/2 between the grid's corners.

    Raises:
        ValueError: The type or the interpolation is unknown, or there are more input
            dimensions than hash primes (7).
    """

    def __init__(self, n_input_dims: int, config: dict[str, Any], generator: torch.Generator) -> None:
        super().__init__()
        self.kind = config.get("type", "Hash")
        if self.kind not in ("Hash", "Dense"):
            raise ValueError(f"unknown grid type '{self.kind}': only Hash and Dense")
        if config.get("interpolation", "Linear") != "Linear":
            raise ValueError(f"unknown interpolation '{config['interpolation']}': only Linear")
        if n_input_dims > len(PRIMES):
            raise ValueError(f"a grid has at most {len(PRIMES)} dimensions, not {n_input_dims}")
        self.n_input_dims = n_input_dims
        self.n_features = config.get("n_features_per_level", 2)
        self.scales, self.resolutions, self.sizes = self._levels(config)
        self.n_output_dims = len(self.sizes) * self.n_features
        features = torch.rand(sum(self.sizes) * self.n_features, generator=generator)
        self.params = nn.Parameter(2e-4 * features - 1e-4)
        corners = list(itertools.product((0, 1), repeat=n_input_dims))
        self.register_buffer("corners", torch.tensor(corners), persistent=False)  # [2^D, D]

    def _levels(self, config: dict[str, Any]) -> tuple[list[float], list[int], list[int]]:
        base, growth = config.get("base_resolution", 16), config.get("per_level_scale", 2.0)
        scales = [base * growth**level - 1 for level in range(config.get("n_levels", 16))]
        resolutions = [math.ceil(scale) + 1 for scale in scales]
        largest = {
            "Hash": 2 ** config.get("log2_hashmap_size", 19),
            "Dense": UINT32 // 2,
        }[self.kind]
        sizes = [min(-(-(resolution**self.n_input_dims) // 8) * 8, largest) for resolution in resolutions]
        return scales, resolutions, sizes

    def forward(self, x: Tensor) -> Tensor:
        """Look up all levels at once; several times faster where no derivative by the
        input is asked for.
        """
        offsets = itertools.accumulate(self.sizes, initial=0)
        levels = zip(offsets, self.sizes, self.scales, self.resolutions, strict=False)
        found = [
            self._corners(x, size, scale, resolution, offset) for offset, size, scale, resolution in levels
        ]
        entries, weights = (torch.cat(parts) for parts in zip(*found, strict=True))
        table = self.params.view(-1, self.n_features)
        sums = _differentiable_sums if weights.requires_grad else _sums
        features = sums(table, entries, weights.to(table))
        return features.view(len(self.sizes), len(x), -1).transpose(0, 1).flatten(1)

    def _corners(
        self, x: Tensor, size: int, scale: float, resolution: int, offset: int
    ) -> tuple[Tensor, Tensor]:
        """Find the entries that surround each point at a level, and their weights: two
        `[N, 2^D]`.
        """
        position = x * scale + 0.5
        cell = position.floor()
        t = position - cell
        weights = t.new_ones(len(x), 1)
        # in the order of `corners`, whose last axis runs fastest
        for d in reversed(range(self.n_input_dims)):
            weights = (torch.stack([1 - t[:, d], t[:, d]], -1)[:, :, None] * weights[:, None]).flatten(1)
        return self._index(cell.long()[:, None] + self.corners, resolution, size) + offset, weights

    def _index(self, corners: Tensor, resolution: int, size: int) -> Tensor:
        if self.kind == "Hash" and size < resolution**self.n_input_dims:
            hashed = corners[..., 0] * PRIMES[0] & UINT32
            for d in range(1, self.n_input_dims):
                hashed = hashed ^ (corners[..., d] * PRIMES[d] & UINT32)
            return hashed % size
        return sum(corners[..., d] * resolution**d for d in range(self.n_input_dims)) % size


def _differentiable_sums(table: Tensor, entries: Tensor, weights: Tensor) -> Tensor:
    """As `_sums`, with all derivatives, those by the weights too."""
    return (table[entries] * weights[..., None]).sum(1)


def _sums(table: Tensor, entries: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums of a table's rows: `[R, F]`, `[N, K]` and `[N, K]` to `[N, F]`."""
    if table.is_cuda:
        return F.embedding_bag(entries, table, per_sample_weights=weights, mode="sum")
    return _SumsOnCPU.apply(table, entries, weights)


class _SumsOnCPU(torch.autograd.Function):
    """The same; PyTorch's own derivative sorts all entries first on a CPU, which takes
    most of a step.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, entries: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(entries, weights)
        ctx.rows = len(table)
        return F.embedding_bag(entries, table, per_sample_weights=weights, mode="sum")

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        entries, weights = ctx.saved_tensors
        each = (weights[..., None] * grad[:, None]).flatten(0, 1)
        table = grad.new_zeros(ctx.rows, grad.shape[1])
        return table.index_add(0, entries.flatten(), each), None, None
