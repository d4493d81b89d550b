"""Encodings and networks by config, those of tinycudann and threestudio's own."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import tinycudann as tcnn
import torch
from threestudio.utils.base import Updateable
from threestudio.utils.config import ConfigError, config_to_primitive
from threestudio.utils.ops import get_activation
from torch import Tensor, nn


class ProgressiveBandFrequency(nn.Module, Updateable):
    """sin(2^k x), cos(2^k x), whose higher bands fade in over the first
    `n_masking_step` steps.
    """

    def __init__(self, in_channels: int, config: dict[str, Any]) -> None:
        super().__init__()
        self.n_input_dims, self.n_frequencies = in_channels, config["n_frequencies"]
        self.n_masking_step = config.get("n_masking_step", 0)
        self.n_output_dims = 2 * in_channels * self.n_frequencies
        self.register_buffer("bands", 2.0 ** torch.arange(self.n_frequencies), persistent=False)
        self.register_buffer("mask", torch.ones(self.n_frequencies), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, D] to [N, 2 D n_frequencies], band by band."""
        angles = self.bands[:, None] * x[:, None]  # [N, K, D]
        return (torch.stack([angles.sin(), angles.cos()], 2) * self.mask[:, None, None]).flatten(1)

    def update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        if self.n_masking_step > 0:
            reached = global_step / self.n_masking_step * self.n_frequencies
            part = (reached - torch.arange(self.n_frequencies)).clamp(0, 1).to(self.mask)
            self.mask = (1 - torch.cos(math.pi * part)) / 2


class ProgressiveBandHashGrid(nn.Module, Updateable):
    """A hash grid whose finer levels come in one by one, every `update_steps` steps
    from `start_step` on.
    """

    def __init__(self, in_channels: int, config: dict[str, Any]) -> None:
        super().__init__()
        self.encoding = tcnn.Encoding(
            in_channels, {**config, "otype": "Grid", "type": "Hash"}, dtype=torch.float32
        )
        self.n_input_dims, self.n_output_dims = in_channels, self.encoding.n_output_dims
        self.n_levels, self.n_features = config["n_levels"], config["n_features_per_level"]
        self.start_level, self.start_step, self.update_steps = (
            config[name] for name in ("start_level", "start_step", "update_steps")
        )
        self.register_buffer("mask", torch.zeros(self.n_output_dims), persistent=False)
        self.update_step(0, 0)

    def forward(self, x: Tensor) -> Tensor:
        """[N, D] to [N, n_levels F]."""
        return self.encoding(x) * self.mask

    def update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        due = self.start_level + max(global_step - self.start_step, 0) // self.update_steps
        self.current_level = min(due, self.n_levels)
        self.mask[: self.current_level * self.n_features] = 1


class CompositeEncoding(nn.Module, Updateable):
    """An encoding, with the point itself in [-1, 1] in front where `include_xyz` says
    so.
    """

    def __init__(self, encoding: nn.Module, include_xyz: bool = False) -> None:
        super().__init__()
        self.encoding, self.include_xyz = encoding, include_xyz
        self.n_output_dims = encoding.n_output_dims + (encoding.n_input_dims if include_xyz else 0)

    def forward(self, x: Tensor) -> Tensor:
        """[N, D] in [0, 1] to [N, n_output_dims]."""
        encoded = self.encoding(x)
        return torch.cat([2 * x - 1, encoded], -1) if self.include_xyz else encoded


class TCNNEncoding(nn.Module):
    """An encoding of tinycudann, in single precision."""

    def __init__(self, in_channels: int, config: dict[str, Any]) -> None:
        super().__init__()
        self.n_input_dims = in_channels
        self.encoding = tcnn.Encoding(in_channels, config, dtype=torch.float32)
        self.n_output_dims = self.encoding.n_output_dims

    def forward(self, x: Tensor) -> Tensor:
        """[N, D] in [0, 1] to [N, n_output_dims]."""
        return self.encoding(x)


ENCODINGS = {
    "ProgressiveBandFrequency": ProgressiveBandFrequency,
    "ProgressiveBandHashGrid": ProgressiveBandHashGrid,
}


def get_encoding(n_input_dims: int, config: Any) -> CompositeEncoding:
    """The encoding that `config.otype` names: threestudio's own, or any of
    tinycudann's; inputs lie in [0, 1].

    Raises:
        ConfigError: The name is unknown, or a setting is missing or wrong.
    """
    settings = config_to_primitive(config)
    build = ENCODINGS.get(settings.get("otype"), TCNNEncoding)
    with _named_errors("encoding", settings):
        return CompositeEncoding(build(n_input_dims, settings), settings.get("include_xyz", False))


@contextlib.contextmanager
def _named_errors(kind: str, settings: dict[str, Any]) -> Iterator[None]:
    try:
        yield
    except (KeyError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ConfigError(f"{kind} {settings.get('otype')}: {reason}") from error


class VanillaMLP(nn.Module):
    """Linear layers without biases and ReLUs between them, in single precision also
    under autocast.
    """

    def __init__(self, dim_in: int, dim_out: int, config: dict[str, Any]) -> None:
        super().__init__()
        widths = [dim_in, *[config["n_neurons"]] * config["n_hidden_layers"]]
        layers: list[nn.Module] = []
        for i in range(config["n_hidden_layers"]):
            layers += [nn.Linear(widths[i], widths[i + 1], bias=False), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], dim_out, bias=False))
        self.output_activation = get_activation(config.get("output_activation"))

    def forward(self, x: Tensor) -> Tensor:
        """[N, dim_in] to [N, dim_out]."""
        with torch.autocast(x.device.type, enabled=False):
            return self.output_activation(self.layers(x.float()))


class TCNNNetwork(nn.Module):
    """A network of tinycudann; its output is of single precision."""

    def __init__(self, dim_in: int, dim_out: int, config: dict[str, Any]) -> None:
        super().__init__()
        self.network = tcnn.Network(dim_in, dim_out, config)

    def forward(self, x: Tensor) -> Tensor:
        """[N, dim_in] to [N, dim_out]."""
        return self.network(x).float()


def get_mlp(n_input_dims: int, n_output_dims: int, config: Any) -> nn.Module:
    """The network that `config.otype` names: VanillaMLP, or one of tinycudann's.

    Raises:
        ConfigError: The name is unknown, or a setting is missing or wrong.
    """
    settings = config_to_primitive(config)
    build = VanillaMLP if settings.get("otype") == "VanillaMLP" else TCNNNetwork
    with _named_errors("network", settings):
        return build(n_input_dims, n_output_dims, settings)
