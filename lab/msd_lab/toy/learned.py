"""Learned denoisers: a small log-density network trained on the exact score.

After Karras et al. 2024, "Guiding a Diffusion Model with a Bad Version of Itself",
appendix C.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from threestudio_msd.files import save_tensors
from torch import Tensor, nn

from ..averages import power_average
from .densities import GaussianMixture, Level, Points

DATA_STD = 0.5
# Points denoised at a time, so that their activations stay within the cache.
CHUNK = 2048
# Called with (steps done, steps, note="").
Progress = Callable[..., None]


class UnitLinear(nn.Module):
    """A linear layer without bias whose rows have unit norm."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.renormalise()

    def forward(self, x: Float[Tensor, "N inputs"]) -> Float[Tensor, "N outputs"]:
        return x @ nn.functional.normalize(self.weight, dim=1).T

    @torch.no_grad()
    def renormalise(self) -> None:
        """Bring rows back to unit norm, so that the learning rate keeps its meaning."""
        self.weight.copy_(nn.functional.normalize(self.weight, dim=1))


class DensityNetwork(nn.Module):
    """log p(z; sigma) up to a constant; its gradient is the score.

    Args:
        width: Hidden units of every layer.
        layers: Hidden layers after the first.
    """

    def __init__(self, width: int = 64, layers: int = 4) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [UnitLinear(4, width), *(UnitLinear(width, width) for _ in range(layers))]
        )
        self.gain = nn.Parameter(torch.ones([]))

    def forward(self, z: Points, sigma: Level) -> Float[Tensor, N]:
        """Log-density at points of the plane up to a constant; `sigma > 0`."""
        sigma = torch.as_tensor(sigma, dtype=z.dtype).reshape(-1, 1).expand(len(z), 1)
        x = z / (DATA_STD**2 + sigma**2).sqrt()
        h = self.layers[0](torch.cat([x, sigma.log() / 4, torch.ones_like(sigma)], 1))
        for layer in self.layers[1:]:
            h = layer(nn.functional.silu(h) / 0.596)
        return h.square().mean(1) * self.gain / sigma[:, 0] - 0.5 * x.square().sum(1)

    def score(self, z: Points, sigma: Level, training: bool = False) -> Points:
        """Gradient of the log-density; differentiable in the weights if `training`."""
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            return torch.autograd.grad(self(z, sigma).sum(), z, create_graph=training)[0]

    def denoise(self, z: Points, sigma: Level) -> Points:
        """D(z, sigma) = z + sigma^2 score(z, sigma)."""
        sigma = torch.as_tensor(sigma, dtype=z.dtype).reshape(-1, 1).expand(len(z), 1)
        scores = [
            self.score(rows, levels) for rows, levels in zip(z.split(CHUNK), sigma.split(CHUNK), strict=True)
        ]
        return z + sigma.square() * torch.cat(scores)


@dataclass(frozen=True)
class Training:
    """How a network is trained; the defaults are the published set-up.

    Args:
        width: Hidden units a layer.
        steps: Iterations; learning rate, batch and average do not depend on it.
        batch: Points an iteration.
        seed: Seed of the first weights and of the data.
    """

    width: int = 64
    steps: int = 4096
    batch: int = 4096
    seed: int = 0


PUBLISHED_SETUP = Training()
# The weak network that classifier-free guidance and autoguidance lead away from.
GUIDE = Training(width=32, steps=512)
VERSION = 1
# Relative width 0.01 of the average: (g + 1) / ((g + 2)^2 (g + 3)) = 0.01^2 (Karras et al.)
EMA_GAMMA = 96.99


def learned(
    density: GaussianMixture,
    training: Training = PUBLISHED_SETUP,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> DensityNetwork:
    """Read a density's network from the cache, or train it and put it there.

    Args:
        density: The density.
        training: Set-up.
        cache: Folder of the cache; `cache_folder()` by default.
        progress: Called with (step, steps, note) during training.

    Returns:
        A `DensityNetwork` whose weights take no gradient.
    """
    file = (cache or cache_folder()) / f"{density.name}-{fingerprint(density, training)}.safetensors"
    if not file.exists():
        save_tensors(train(density, training, progress).state_dict(), file)
    network = DensityNetwork(training.width)
    network.load_state_dict(load_file(file))
    return network.requires_grad_(False)


def train(density: GaussianMixture, training: Training, progress: Progress | None = None) -> DensityNetwork:
    """Fit the exact score: loss sigma^2 ||s - score||^2, ln sigma ~ N(-2.3, 1.5^2)."""
    generator = torch.Generator().manual_seed(training.seed)
    with torch.random.fork_rng():
        torch.manual_seed(training.seed)
        network = DensityNetwork(training.width)
    average = copy.deepcopy(network)
    optimiser = torch.optim.Adam(network.parameters(), betas=(0.9, 0.99))
    for step in range(training.steps):
        optimiser.param_groups[0]["lr"] = 0.01 / math.sqrt(max(step / 512, 1))
        sigma = (-2.3 + 1.5 * torch.randn(training.batch, generator=generator)).exp()
        x = density.sample(training.batch, generator)
        z = x + sigma[:, None] * torch.randn(x.shape, generator=generator)
        error = network.score(z, sigma, training=True) - density.score(z, sigma)
        loss = (sigma**2 * error.square().mean(1)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        for layer in network.layers:
            layer.renormalise()
        power_average(list(average.parameters()), network.parameters(), step + 1, EMA_GAMMA)
        if progress:
            progress(step + 1, training.steps, f"{density.name}: loss {loss.item():.4f}")
    return average


def fingerprint(density: GaussianMixture, training: Training) -> str:
    """Hash of all that decides the weights: density, set-up and this code's version."""
    digest = hashlib.sha256(json.dumps([VERSION, asdict(training)], sort_keys=True).encode())
    for tensor in (density.means, density.axes, density.variances, density.weights):
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def cache_folder() -> Path:
    """`threestudio-msd/toy` in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "threestudio-msd" / "toy"
