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
    """D(z, sigma) = E[x | z = x + sigma n], the mean of the clean x that may have
    become z.
    """

    def __call__(self, z: Batch, sigma: Level) -> Batch:
        """Denoise z at the level sigma. The score is (D - z) / sigma^2, the noise (z -
        D) / sigma.
        """


@runtime_checkable
class Schedule(Protocol):
    """The noise levels a prior was trained on, by diffusion time in [0, 1], 1 being
    pure noise.
    """

    sigma_min: float
    sigma_max: float

    def sigma(self, u: float | Tensor) -> Tensor:
        """Noise level at diffusion time `u`, of the same shape."""

    def time(self, sigma: float | Tensor) -> Tensor:
        """Diffusion time of a noise level: the inverse of `sigma`."""


@runtime_checkable
class Prior(Protocol):
    """A conditional pretrained model: D_w = D_uncond + w (D_cond - D_uncond) at every
    guidance scale w (Eq. 13).

    Attributes:
        schedule: The noise levels it was trained on.
        scale: The guidance scale in force; 1 is conditional only, 0 unconditional only,
            and each is one branch.
        denoiser: The denoiser at that scale, `at(scale)`.
    """

    @property
    def schedule(self) -> Schedule: ...

    @property
    def scale(self) -> float: ...

    @property
    def denoiser(self) -> Denoiser: ...

    def at(self, scale: float) -> Denoiser:
        """Return the denoiser at another guidance scale; a branch without weight is not
        evaluated.
        """

    def direction(self, z: Batch, sigma: Level) -> Batch:
        """Evaluate D_cond - D_uncond, which guidance multiplies, both branches at once."""


@runtime_checkable
class Noise(Protocol):
    """A source of standard normal noise."""

    def __call__(self, like: Batch) -> Batch:
        """Draw N(0, I) of the shape, dtype and device of `like`."""


@dataclass(frozen=True)
class Estimate:
    """One estimate of the gradient.

    Attributes:
        target: Where the render is pulled, y - gradient; as a loss, 0.5 ||y -
            stopgrad(target)||^2.
        gradient: Descent gradient on y.
        nfe: Denoiser evaluations that one sample took; guidance's branches are counted
            elsewhere.
        sigma: The level of the estimate: lambda for MSD, the noise level for the
            others.
        noisy: The input of the last denoiser call, for plots; None if there is no
            single one.
        denoised: The clean estimate before any weighting, for plots; None if there is
            no single one.
        state: Pass this to the next estimate.
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
    """Says which way renders should move; a base class too, whose `init` serves
    estimators without memory.

    State goes in and comes out (`Estimate.state`); an estimator itself is a frozen
    dataclass of its settings. It estimates without gradients (`torch.no_grad`): y and
    the networks may require them, and no graph is kept.

    Attributes:
        paper: The paper to cite.
    """

    paper: ClassVar[Paper]

    def init(self, y: Batch) -> State:
        """Return the state of renders like `y` before their first estimate."""
        return {}

    def __call__(
        self, y: Batch, prior: Prior, noise: Noise, progress: float, state: State | None = None
    ) -> Estimate:
        """Estimate the gradient at every y.

        Args:
            y: Renders.
            prior: The pretrained model under the prompt.
            noise: Source of all randomness.
            progress: Part of the optimisation done, in [0, 1].
            state: The last estimate's `state`; None stands for `init(y)`.
        """


class Product(NamedTuple):
    """Draws from a product density, and the denoiser evaluations that one sample took."""

    x: Tensor
    nfe: int


@runtime_checkable
class ProductSampler(Protocol):
    """Draws from the product density p(x) N(x; y, lambda^2) / Z of a prior and a
    Gaussian kernel (Eq. 8); without gradients, as an `Estimator`.
    """

    def __call__(self, y: Batch, lam: Level, prior: Prior, noise: Noise) -> Product:
        """Draw one x around every y, with a kernel of bandwidth `lam`."""


@runtime_checkable
class Bandwidth(Protocol):
    """The kernel's bandwidth lambda, in units of the renders, over the optimisation."""

    @property
    def last(self) -> float:
        """The final lambda."""

    def init(self, y: Batch) -> State:
        """Return the state of renders like `y` before their first estimate."""

    def __call__(self, progress: float, state: State) -> float | Tensor:
        """Return lambda, a number or one a sample, `[B]`; progress outside [0, 1]
        counts as its ends.
        """

    def step(self, state: State, shift: Batch) -> State:
        """Return the state after the mean-shift vectors `shift` were estimated at the
        present lambda.
        """
