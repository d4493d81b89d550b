"""Pretrained networks as conditional denoisers `(z, sigma, condition) -> x0` in
variance-exploding form.

Siblings differ in what the network was trained to predict: `VPDenoiser` (epsilon, v or
sample prediction of a variance-preserving model, as Stable Diffusion) and
`FlowDenoiser` (the velocity or the clean sample of a rectified flow). Each counts
the rows it evaluated: its NFE.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..distillation import Schedule, TableSchedule, expand
from ..distillation.protocols import Batch, Level

Condition = Mapping[str, Tensor]
"""Keyword arguments of the network beside sample and time, each `[N, ...]`: text embeddings and the like."""

Levels = Float[Tensor, "B"]
"""One number for each sample: noise levels, times, weights."""


class ConditionalDenoiser(ABC):
    """Base of pretrained networks wrapped as denoisers D(z, sigma | condition).

    Called as `denoiser(z, sigma, condition)`, it returns the clean estimate, shaped
    like z. A subclass defines `denoise` and `training_weight`.

    Args:
        network: Called as `network(sample, time, **condition)`, returns its raw
            prediction.
        dtype: Precision of the network; states and results keep their own.

    Attributes:
        evaluations: Rows evaluated so far, those of every guidance branch counted.
    """

    schedule: Any

    def __init__(self, network: Callable[..., Tensor], dtype: torch.dtype = torch.float32) -> None:
        self.network = network
        self.dtype = dtype
        self.evaluations = 0

    def __call__(self, z: Batch, sigma: Level, condition: Condition) -> Batch:
        """Denoise states, and count their rows.

        Args:
            z: States, `[N, ...]`.
            sigma: Their noise level, 0-d or `[N]`.
            condition: Tensors `[N, ...]` by the network's argument, one row per state.

        Returns:
            Clean estimates, shaped like z.
        """
        self.evaluations += z.shape[0]
        return self.denoise(z, sigma.to(z).expand(z.shape[0]), condition)

    def with_network(self, network: Callable[..., Tensor]) -> ConditionalDenoiser:
        """Copy the denoiser around another network with the same arguments; the copy
        counts its own evaluations from 0.
        """
        other = copy.copy(self)
        other.network, other.evaluations = network, 0
        return other

    @abstractmethod
    def denoise(self, z: Batch, sigma: Levels, condition: Condition) -> Batch:
        """Return the clean estimate D(z, sigma | condition), shaped like z `[N, ...]`,
        for noise levels `[N]`.
        """

    @abstractmethod
    def training_weight(self, sigma: Levels) -> Levels:
        """Return the weight, `[N]`, that turns the squared error of D at `sigma`,
        `[N]`, into the network's own training loss.
        """

    def predict(self, sample: Batch, time: Levels, condition: Condition) -> Batch:
        """Call the network in its own precision.

        Args:
            sample: The network's input, `[N, ...]`.
            time: The network's time, `[N]`.
            condition: Tensors `[N, ...]` by the network's argument.

        Returns:
            Its raw prediction, in the dtype of `sample`.
        """
        condition = {
            name: value.to(self.dtype) if value.is_floating_point() else value
            for name, value in condition.items()
        }
        return self.network(sample.to(self.dtype), time, **condition).to(sample.dtype)


class VPDenoiser(ConditionalDenoiser):
    """A variance-preserving model with discrete training timesteps, such as Stable
    Diffusion, as a denoiser.

    Called as `denoiser(z, sigma, condition)`, it returns the clean estimate, shaped
    like z. The network's input is z / sqrt(1 + sigma^2) at the timestep of sigma,
    interpolated in log sigma between training timesteps.

    Args:
        network: Called as `network(sample, timestep, **condition)` with fractional
            timesteps, `[N]`, returns its raw prediction.
        schedule: Noise levels by training timestep.
        prediction_type: What the network predicts: `epsilon`, `v_prediction` or
            `sample`, as diffusers' schedulers name it.
        dtype: Precision of the network; states and results keep their own.

    Raises:
        ValueError: The prediction type is none of these.
    """

    def __init__(
        self,
        network: Callable[..., Tensor],
        schedule: TableSchedule,
        prediction_type: str = "epsilon",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(network, dtype)
        if prediction_type not in ("epsilon", "v_prediction", "sample"):
            raise ValueError(
                f"unknown prediction type {prediction_type!r}: expected epsilon, v_prediction or sample"
            )
        self.schedule = schedule
        self.prediction_type = prediction_type

    def denoise(self, z: Batch, sigma: Levels, condition: Condition) -> Batch:
        s = expand(sigma, z)
        alpha = (1 + s**2).rsqrt()  # sqrt(abar)
        prediction = self.predict(z * alpha, self.schedule.timestep(sigma).to(z.device), condition)
        if self.prediction_type == "epsilon":
            return z - s * prediction
        if self.prediction_type == "v_prediction":
            return alpha * (z * alpha) - s * alpha * prediction
        return prediction

    def training_weight(self, sigma: Levels) -> Levels:
        if self.prediction_type == "epsilon":
            return sigma**-2
        if self.prediction_type == "v_prediction":
            return 1 + sigma**-2
        return torch.ones_like(sigma)


class FlowDenoiser(ConditionalDenoiser):
    """A rectified flow, such as Stable Diffusion 3, as a denoiser: z_fm = (1 - t) x + t
    k n with noise k n of standard deviation k, and u = k n - x.

    Called as `denoiser(z, sigma, condition)`, it returns the clean estimate, shaped
    like z. The network's input is z_fm = (1 - t) z at t = sigma / (k + sigma).

    Args:
        network: Called as `network(sample, time, **condition)` with times `t *
            timesteps`, `[N]`, returns its prediction.
        schedule: Noise levels.
        timesteps: Scale of the network's time, 1000 in diffusers.
        dtype: Precision of the network; states and results keep their own.
        noise_std: Standard deviation k of the flow's noise.
        prediction_type: `velocity`, which is u, or `sample`, which is x.
    """

    def __init__(
        self,
        network: Callable[..., Tensor],
        schedule: Schedule,
        timesteps: int = 1000,
        dtype: torch.dtype = torch.float32,
        noise_std: float = 1.0,
        prediction_type: str = "velocity",
    ) -> None:
        super().__init__(network, dtype)
        self.schedule = schedule
        self.timesteps = timesteps
        self.noise_std = noise_std
        self.prediction_type = prediction_type

    def denoise(self, z: Batch, sigma: Levels, condition: Condition) -> Batch:
        z_fm = self.flow_state(z, sigma)
        t = sigma / (self.noise_std + sigma)
        prediction = self.predict(z_fm, t * self.timesteps, condition)
        return prediction if self.prediction_type == "sample" else z_fm - expand(t, z) * prediction

    def flow_state(self, z: Batch, sigma: Levels) -> Batch:
        """Scale a state z = x + sigma n to z_fm."""
        return z * self.noise_std / (self.noise_std + expand(sigma, z))

    def training_weight(self, sigma: Levels) -> Levels:
        if self.prediction_type == "sample":
            return torch.ones_like(sigma)
        return (1 + self.noise_std / sigma) ** 2
