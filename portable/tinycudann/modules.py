"""tinycudann's three modules."""

import itertools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from tinycudann.encodings import build_encoding
from torch import Tensor, nn

MLPS = ("FullyFusedMLP", "CutlassMLP", "VanillaMLP", "MLP")
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "None": lambda x: x,
    "ReLU": F.relu,
    "LeakyReLU": F.leaky_relu,
    "Exponential": torch.exp,
    "Sine": torch.sin,
    "Sigmoid": torch.sigmoid,
    "Squareplus": lambda x: (x + torch.sqrt(x * x + 0.4)) / 2,
    "Softplus": F.softplus,
    "Tanh": torch.tanh,
}


class MLP(nn.Module):
    """Linear layers without biases, and an activation between them."""

    def __init__(
        self, n_input_dims: int, n_output_dims: int, config: dict[str, Any], generator: torch.Generator
    ) -> None:
        super().__init__()
        if config["otype"] not in MLPS:
            raise ValueError(f"unknown network '{config['otype']}': only {', '.join(MLPS)}")
        self.activation = _activation(config.get("activation", "ReLU"))
        self.output_activation = _activation(config.get("output_activation", "None"))
        hidden = [config.get("n_neurons", 128)] * config.get("n_hidden_layers", 5)
        widths = [n_input_dims, *hidden, n_output_dims]
        self.layers = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in itertools.pairwise(widths))
        for layer in self.layers:
            nn.init.xavier_uniform_(layer.weight, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """[N, n_input_dims] to [N, n_output_dims]."""
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.output_activation(self.layers[-1](x))


def _activation(name: str) -> Callable[[Tensor], Tensor]:
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation '{name}': only {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


class Encoding(nn.Module):
    """An encoding [N, n_input_dims] in [0, 1] to [N, n_output_dims].

    Args:
        n_input_dims: Dimensions of a point.
        encoding_config: `otype` (HashGrid, DenseGrid, Frequency, SphericalHarmonics)
            and its settings, as in tinycudann's documentation.
        seed: Seed of the initial parameters.
        dtype: Of the output; that of the computation by default.

    Raises:
        ValueError: The type or a setting is unknown.

    Example:
        >>> Encoding(2, {"otype": "Frequency", "n_frequencies": 3})(torch.rand(5, 2)).shape
        torch.Size([5, 12])
    """

    def __init__(
        self,
        n_input_dims: int,
        encoding_config: dict[str, Any],
        seed: int = 1337,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.n_input_dims, self.encoding_config, self.seed, self.dtype = (
            n_input_dims,
            encoding_config,
            seed,
            dtype,
        )
        generator = torch.Generator().manual_seed(seed)
        self.encoding = build_encoding(n_input_dims, encoding_config, generator)
        self.n_output_dims = self.encoding.n_output_dims

    def forward(self, x: Tensor) -> Tensor:
        encoded = self.encoding(x)
        return encoded if self.dtype is None else encoded.to(self.dtype)


class Network(nn.Module):
    """A fully connected network.

    Args:
        n_input_dims: Inputs.
        n_output_dims: Outputs.
        network_config: `otype` (FullyFusedMLP, CutlassMLP, VanillaMLP: all the same
            here), `activation`, `output_activation`, `n_neurons`, `n_hidden_layers`.
        seed: Seed of the initial parameters.

    Raises:
        ValueError: The type or an activation is unknown.
    """

    def __init__(
        self, n_input_dims: int, n_output_dims: int, network_config: dict[str, Any], seed: int = 1337
    ) -> None:
        super().__init__()
        self.n_input_dims, self.n_output_dims = n_input_dims, n_output_dims
        self.network_config, self.seed = network_config, seed
        self.network = MLP(n_input_dims, n_output_dims, network_config, torch.Generator().manual_seed(seed))

    def forward(self, x: Tensor) -> Tensor:
        """[N, n_input_dims] to [N, n_output_dims]."""
        return self.network(x)


class NetworkWithInputEncoding(nn.Module):
    """A network behind an encoding; arguments as for these two."""

    def __init__(
        self,
        n_input_dims: int,
        n_output_dims: int,
        encoding_config: dict[str, Any],
        network_config: dict[str, Any],
        seed: int = 1337,
    ) -> None:
        super().__init__()
        self.n_input_dims, self.n_output_dims = n_input_dims, n_output_dims
        self.encoding_config, self.network_config, self.seed = encoding_config, network_config, seed
        self.encoding = Encoding(n_input_dims, encoding_config, seed)
        self.network = Network(self.encoding.n_output_dims, n_output_dims, network_config, seed)

    def forward(self, x: Tensor) -> Tensor:
        """[N, n_input_dims] to [N, n_output_dims]."""
        return self.network(self.encoding(x))
