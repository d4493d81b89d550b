"""`msd-image-mlp`: images as coordinate MLPs, many at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import threestudio
import torch
from threestudio.utils.base import BaseModule
from threestudio.utils.ops import get_activation
from torch import Tensor, nn

from ..distillation.noise import seed_from
from ..fields import FieldError, check_fields, number
from .encodings import select


class ParticleLinear(nn.Module):
    """A linear layer for every particle, evaluated as one batched product.

    Called with `[P, N, inputs]`, it returns `[P, N, outputs]`.

    Args:
        inputs: Features in.
        outputs: Features out.
        generators: One random generator per particle; weights are He-uniform, biases
            zero.
    """

    def __init__(self, inputs: int, outputs: int, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        bound = math.sqrt(6 / inputs)
        rows = [torch.empty(inputs, outputs).uniform_(-bound, bound, generator=g) for g in generators]
        self.weight = nn.Parameter(torch.stack(rows))  # [P, inputs, outputs]
        self.bias = nn.Parameter(torch.zeros(len(rows), 1, outputs))

    def forward(self, x: Tensor, index: Tensor | None = None) -> Tensor:
        """Apply each particle's layer to its own rows.

        Args:
            x: Features, `[P, N, inputs]`.
            index: Numbers of the particles, `[P]`; all by default.

        Returns:
            Features, `[P, N, outputs]`.
        """
        return torch.baddbmm(select(self.bias, index), x, select(self.weight, index))


@threestudio.register("msd-image-mlp")
class ImageMLP(BaseModule):
    """`n_particles` images, each an independent network from coordinates in [0, 1]^2 to
    RGB in [0, 1].

    Called with coordinates, `[N, 2]`, and particles' numbers, `[P]` (all by default),
    it returns colours, `[P, N, 3]`. Particle i is initialised from (seed, i) alone, so
    it is the same network for any number of particles.

    Example:
        >>> import threestudio, threestudio_msd, torch
        >>> images = threestudio.find("msd-image-mlp")({"n_particles": 3})
        >>> images(torch.rand(10, 2)).shape
        torch.Size([3, 10, 3])
    """

    @dataclass
    class Config(BaseModule.Config):
        n_particles: int = number(1, least=1)
        seed: int = number(0, least=0)
        # what stands in front: msd-fourier-encoding or msd-hashgrid-encoding, and its settings
        encoding_type: str = "msd-fourier-encoding"
        encoding: dict = field(default_factory=dict)
        # hidden layers: number, width, activation (threestudio's name or one of torch.nn.functional)
        depth: int = number(2, least=1)
        width: int = number(64, least=1)
        activation: str = "relu"
        # grey level in (0, 1) that every image starts from, and the size of what is random around it; 0:
        # exactly that grey
        init_grey: float = number(0.5, above=0, below=1)
        init_scale: float = number(0.1, least=0)

        def __post_init__(self) -> None:
            check_fields(self)
            try:
                get_activation(self.activation)
            except Exception as error:  # each host has its own
                raise FieldError(
                    "activation: expected threestudio's name of one, or torch.nn.functional's, "
                    f"got {self.activation!r}"
                ) from error

    cfg: Config

    @staticmethod
    def size(cfg: Config) -> tuple[int, int]:
        """Return the numbers kept for the gradient per pixel and particle, and the
        parameters per particle, for a `Config`.
        """
        encoding = threestudio.find(cfg.encoding_type)
        features, held = encoding.size(encoding.Config(**cfg.encoding))
        weights = (features + (cfg.depth - 1) * cfg.width + 3) * cfg.width
        return features + 2 * cfg.depth * cfg.width + 3, held + weights

    def configure(self) -> None:
        """Initialise the encodings and networks of all particles; threestudio's
        constructor calls this.
        """
        cfg = self.cfg
        generators = [
            torch.Generator().manual_seed(seed_from(cfg.seed, "particle", i)) for i in range(cfg.n_particles)
        ]
        self.encoding = threestudio.find(cfg.encoding_type)(cfg.encoding, generators)
        self.activation = get_activation(cfg.activation)
        widths = [self.encoding.n_output_dims, *[cfg.width] * cfg.depth]
        self.hidden = nn.ModuleList(ParticleLinear(a, b, generators) for a, b in pairwise(widths))
        self.output = ParticleLinear(cfg.width, 3, generators)
        with torch.no_grad():
            self.output.weight.mul_(cfg.init_scale)
            self.output.bias.fill_(math.log(cfg.init_grey / (1 - cfg.init_grey)))

    def forward(self, coordinates: Tensor, index: Tensor | None = None) -> Tensor:
        """Evaluate colours at points.

        Args:
            coordinates: (x, y) in [0, 1]^2, `[N, 2]`; x to the right, y down.
            index: Numbers of the particles, `[P]`; all by default.

        Returns:
            RGB in [0, 1], `[P, N, 3]`.
        """
        x = self.encoding(coordinates, index)
        for layer in self.hidden:
            x = self.activation(layer(x, index))
        return self.output(x, index).sigmoid()
