"""The interfaces of the mathematics; start reading here.

Everything is written for tensors of any shape `[B, ...]` in variance-exploding form,
z = x + sigma n with n ~ N(0, I):

- a `Denoiser` is D(z, sigma) = E[x | z], the one interface that every pretrained model
  is wrapped into;
- a `Prior` is a model under a prompt: its noise levels (a `Schedule`), and a denoiser
  for every guidance scale;
- an `Estimator` asks a prior which way a render y should move, and answers with an
  `Estimate`;
- mean-shift distillation, the estimator `MSD`, is made of a `ProductSampler`, which
  draws from the prior near y, and a `Bandwidth`, which says how near;
- randomness comes from a `Noise`; memory from step to step is a `State`, which goes in
  and comes out, and which the caller keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from ..papers import Paper

Batch = Float[Tensor, "B ..."]
"""One render, latent, state or gradient a sample."""

PerSample = Float[Tensor, "B"]
"""One number a sample."""

Level = Float[Tensor, ""] | Float[Tensor, "B"]
"""A noise level or a bandwidth: one for all samples, or one a sample."""

State = Mapping[str, Tensor]
"""Memory of every sample between estimates: tensors `[B, ...]` by name; often empty."""


@runtime_checkable
class Denoiser(Protocol):
    """A function D(z, sigma) = E[x | z = x + sigma n], the mean of the clean images x
    that may have become z.
    """

    def __call__(self, z: Batch, sigma: Level) -> Batch:
        """Denoise noisy states.

        The score follows as (D - z) / sigma^2, and the noise as (z - D) / sigma.

        Args:
            z: Noisy states, `[B, ...]`.
            sigma: Their noise level, 0-d or `[B]`.

        Returns:
            D(z, sigma), shaped like z.
        """


@runtime_checkable
class Schedule(Protocol):
    """The noise levels that a prior was trained on, as a function of diffusion time.

    Diffusion time runs over [0, 1], where 1 is pure noise.

    Attributes:
        sigma_min: Least noise level, > 0.
        sigma_max: Greatest noise level.
    """

    sigma_min: float
    sigma_max: float

    def sigma(self, u: float | Tensor) -> Tensor:
        """Return the noise level at diffusion time `u` in [0, 1], shaped like `u`."""

    def time(self, sigma: float | Tensor) -> Tensor:
        """Return the diffusion time of a noise level, shaped like `sigma`: the inverse
        of `Schedule.sigma`.
        """


@runtime_checkable
class Prior(Protocol):
    """A pretrained model under a prompt, with a denoiser D_w = D_uncond + w (D_cond -
    D_uncond) for every guidance scale w (Eq. 13).

    Attributes:
        schedule: The noise levels that the model was trained on.
        scale: The guidance scale w in force: 1 is conditional only, 0 unconditional
            only.
        denoiser: The denoiser at that scale, the same as `at(scale)`.
    """

    @property
    def schedule(self) -> Schedule: ...

    @property
    def scale(self) -> float: ...

    @property
    def denoiser(self) -> Denoiser: ...

    def at(self, scale: float) -> Denoiser:
        """Return the denoiser D_w at another guidance scale w.

        At w = 1 and w = 0 only the branch with weight 1 is evaluated.
        """

    def direction(self, z: Batch, sigma: Level) -> Batch:
        """Return D_cond(z, sigma) - D_uncond(z, sigma), the difference that the
        guidance scale multiplies, shaped like z.
        """


@runtime_checkable
class Noise(Protocol):
    """A source of standard normal noise, called with a tensor of the shape that is
    wanted.
    """

    def __call__(self, like: Batch) -> Batch:
        """Draw noise from N(0, I) of the shape, dtype and device of `like`."""


@dataclass(frozen=True)
class Estimate:
    """One estimate of the gradient of B renders y, by an `Estimator`.

    Attributes:
        target: y - gradient, to which the renders are pulled, `[B, ...]`: the loss 0.5
            ||y - stopgrad(target)||^2 has this gradient.
        gradient: The gradient on y that an optimiser descends, `[B, ...]`.
        nfe: Denoiser evaluations per sample. An evaluation under guidance counts once,
            though it runs two branches of the network.
        sigma: lambda for MSD, the noise level of the last denoiser call for the others,
            0-d or `[B]`.
        noisy: Input of the last denoiser call, `[B, ...]`, for plots; None if there is
            no single one.
        denoised: The clean estimate before any weighting, `[B, ...]`, for plots; None
            if there is no single one.
        state: The estimator's memory, to be passed to the next call.
    """

    target: Batch
    gradient: Batch
    nfe: int
    sigma: Level
    noisy: Batch | None = None
    denoised: Batch | None = None
    state: State = field(default_factory=dict)


@runtime_checkable
class Estimator(Protocol):
    """A method of score distillation: estimates in which direction renders should move.

    It is a frozen dataclass of the method's settings, called as `estimator(y, prior,
    noise, progress, state) -> Estimate`. Memory goes in as `state` and comes out as
    `Estimate.state`. It runs under `torch.no_grad`: y and the networks may require
    gradients, and no graph is kept.

    Attributes:
        paper: The paper to cite.
    """

    paper: ClassVar[Paper]

    def init(self, y: Batch) -> State:
        """Return the state before the first estimate of renders like `y`, `[B, ...]`;
        an empty dict unless overridden.
        """
        return {}

    def __call__(
        self, y: Batch, prior: Prior, noise: Noise, progress: float, state: State | None = None
    ) -> Estimate:
        """Estimate the gradient on every render.

        Args:
            y: Renders or latents, `[B, ...]`.
            prior: The pretrained model under the prompt.
            noise: Source of all randomness.
            progress: Part of the optimisation done, in [0, 1].
            state: `Estimate.state` of the last estimate; None starts anew with
                `init(y)`.

        Returns:
            Gradient and target, `[B, ...]` each, with the evaluations spent and the
            next state.
        """


class Product(NamedTuple):
    """Draws `x` from a product density, `[B, ...]`, and `nfe`, the denoiser evaluations
    per sample that they took.
    """

    x: Tensor
    nfe: int


@runtime_checkable
class ProductSampler(Protocol):
    """Draws from the product density p(x) N(x; y, lambda^2) / Z of a prior p and a
    Gaussian kernel around y (Eq. 8).

    It runs under `torch.no_grad`.
    """

    def __call__(self, y: Batch, lam: Level, prior: Prior, noise: Noise) -> Product:
        """Draw one x around every y.

        Args:
            y: Centres of the kernels, `[B, ...]`.
            lam: Bandwidth of the kernels, a number, 0-d or `[B]`.
            prior: The pretrained model under the prompt.
            noise: Source of all randomness.

        Returns:
            The draws, `[B, ...]`, and the denoiser evaluations per sample.
        """


@runtime_checkable
class Bandwidth(Protocol):
    """A schedule of the kernel's bandwidth lambda, in units of the renders, over the
    optimisation.
    """

    @property
    def last(self) -> float:
        """The lambda that the schedule ends at."""

    def init(self, y: Batch) -> State:
        """Return the schedule's state before the first estimate of renders like `y`,
        `[B, ...]`.
        """

    def __call__(self, progress: float, state: State) -> float | Tensor:
        """Return lambda, a number or one per sample, `[B]`.

        Args:
            progress: Part of the optimisation done; values outside [0, 1] count as 0 or
                1.
            state: The schedule's state.
        """

    def step(self, state: State, shift: Batch) -> State:
        """Return the schedule's state after an estimate.

        Args:
            state: The state that the estimate was made with.
            shift: The estimated mean-shift vectors, `[B, ...]`.
        """
