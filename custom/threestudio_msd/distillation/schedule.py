"""Noise levels: the map between diffusion time and sigma, and the grids that solvers
step along.

Everything is in variance-exploding form, z = x + sigma n. A schedule's time u runs over
[0, 1], 1 being pure noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class KarrasSchedule:
    """Noise levels sigma(u) = (sigma_min^(1/rho) + u (sigma_max^(1/rho) -
    sigma_min^(1/rho)))^rho at diffusion time u in [0, 1].

    `sigma(u)` returns the level at a time and `time(sigma)` the time of a level,
    clamped to [0, 1]. Source: Karras et al. 2022, Eq. 5, with its index reversed.

    Args:
        sigma_min: Least noise level, > 0.
        sigma_max: Greatest noise level.
        rho: Curvature; 7 in the source, 1 is linear in sigma.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    def sigma(self, u: float | Tensor) -> Tensor:
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        return (low + torch.as_tensor(u, dtype=torch.float32) * (high - low)) ** self.rho

    def time(self, sigma: float | Tensor) -> Tensor:
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        sigma = torch.as_tensor(sigma, dtype=torch.float32)
        return ((sigma ** (1 / self.rho) - low) / (high - low)).clamp(0, 1)


class TableSchedule:
    """Noise levels of a model with N discrete training timesteps: a table, interpolated
    in log sigma.

    Diffusion time u corresponds to timestep u N, as threestudio counts its percentages;
    u = 1 stands for the last timestep. `sigma(u)` returns the level at a time and
    `time(sigma)` the time of a level.

    Args:
        sigmas: Noise levels by timestep, positive and ascending, `[N]`.

    Raises:
        ValueError: The levels are not one row, or not positive and ascending.
    """

    def __init__(self, sigmas: Tensor) -> None:
        if sigmas.ndim != 1 or sigmas[0] <= 0 or (sigmas.diff() <= 0).any():
            raise ValueError("the table of noise levels must be one positive, ascending row")
        self.log_sigmas = sigmas.double().log()
        self.sigma_min, self.sigma_max = float(sigmas[0]), float(sigmas[-1])
        self._copies: dict[torch.device, Tensor] = {}

    def _table(self, device: torch.device) -> Tensor:
        """Return the log levels on a device, copied there once: a copy makes a GPU
        wait.
        """
        if device not in self._copies:
            self._copies[device] = self.log_sigmas.to(device)
        return self._copies[device]

    @classmethod
    def from_alphas_cumprod(cls, alphas_cumprod: Tensor) -> TableSchedule:
        """Make the schedule of a variance-preserving model, sigma = sqrt((1 - abar) /
        abar).

        Args:
            alphas_cumprod: abar by timestep, descending in (0, 1), `[N]`.

        Raises:
            ValueError: The levels do not ascend or are not positive.
        """
        abar = alphas_cumprod.double()
        return cls(((1 - abar) / abar).sqrt())

    def __len__(self) -> int:
        return len(self.log_sigmas)

    def sigma_at(self, timestep: float | Tensor) -> Tensor:
        """Return the noise level at a timestep in [0, N - 1], shaped like `timestep`.

        Fractions are interpolated in log sigma; timesteps outside count as the nearest
        end.
        """
        k = torch.as_tensor(timestep, dtype=torch.float64).clamp(0, len(self) - 1)
        low = k.floor().long().clamp(max=len(self) - 2)
        table = self._table(k.device)
        return torch.lerp(table[low], table[low + 1], k - low).exp().float()

    def timestep(self, sigma: float | Tensor) -> Tensor:
        """Return the fractional timestep of a noise level, shaped like `sigma`; levels
        outside the table count as its ends.
        """
        log_sigma = torch.as_tensor(sigma, dtype=torch.float64).log()
        table = self._table(log_sigma.device)
        low = (torch.searchsorted(table, log_sigma.contiguous(), right=True) - 1).clamp(0, len(self) - 2)
        fraction = (log_sigma - table[low]) / (table[low + 1] - table[low])
        return (low + fraction.clamp(0, 1)).float()

    def sigma(self, u: float | Tensor) -> Tensor:
        return self.sigma_at(torch.as_tensor(u, dtype=torch.float64) * len(self))

    def time(self, sigma: float | Tensor) -> Tensor:
        return self.timestep(sigma) / len(self)


def karras_sigmas(steps: int, sigma_min: float, sigma_max: float | Tensor, rho: float = 7.0) -> Tensor:
    """Make a descending grid of `steps` positive noise levels and a final 0 (Karras et
    al. 2022, Eq. 5).

    Args:
        steps: Number of solver steps, >= 1.
        sigma_min: Last positive level; replaced by `sigma_max / 2` where that is
            smaller.
        sigma_max: First level, a number or one per sample, `[B]`.
        rho: Spacing of the levels: 7 crowds them at low noise; 1 spaces them evenly.

    Returns:
        Levels, `[steps + 1]`, or `[steps + 1, B]` for a `sigma_max` of `[B]`.

    Raises:
        ValueError: `steps` < 1, or a level is not positive; a `sigma_max` on a GPU is
            not checked.

    Example:
        >>> [round(float(sigma), 3) for sigma in karras_sigmas(3, 0.1, 10.0, rho=1)]
        [10.0, 5.05, 0.1, 0.0]
    """
    high = torch.as_tensor(sigma_max, dtype=torch.float32)
    if steps < 1 or sigma_min <= 0 or (high.device.type == "cpu" and bool((high <= 0).any())):
        raise ValueError(
            f"a grid needs steps >= 1 and positive levels, got {steps}, {sigma_min}, {sigma_max}"
        )
    low = torch.minimum(torch.full_like(high, sigma_min), high / 2)
    ramp = torch.linspace(0, 1, steps, device=high.device)[1:].reshape(-1, *[1] * high.ndim)
    grid = (high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    return torch.cat([high[None], grid, torch.zeros_like(high)[None]])
