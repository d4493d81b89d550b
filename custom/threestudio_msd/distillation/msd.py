"""Mean-shift distillation: towards the modes of the prior, seen at a resolution of
lambda.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from ..fields import Checked, number
from ..papers import THAMIZHARASAN
from .bandwidth import Linear
from .noise import repeated
from .product import Posterior
from .protocols import Bandwidth, Batch, Estimate, Estimator, Noise, Prior, ProductSampler, State
from .tensors import on_device


@dataclass(frozen=True)
class MSD(Checked, Estimator):
    """Mean-shift distillation: g = y - x', x' the mean of draws from the product of the
    prior and a Gaussian kernel around y (Eq. 10, 11).

    -g estimates the mean-shift vector m = lambda^2 grad log p_lambda(y), p_lambda the
    prior blurred by lambda (Eq. 6). A call returns an `Estimate` whose target is x' and
    whose `sigma` is lambda.

    Args:
        sampler: Draws from the product density.
        bandwidth: Schedule of lambda. Its state is the estimator's state.
        draws_per_estimate: M, the number of draws averaged, in [1, 1000]; the paper
            uses 1.

    Raises:
        FieldError: `draws_per_estimate` is out of range.
    """

    paper = THAMIZHARASAN
    sampler: ProductSampler = field(default_factory=Posterior)
    bandwidth: Bandwidth = field(default_factory=lambda: Linear(1.0, 0.05))
    draws_per_estimate: int = number(1, least=1, most=1000)

    def init(self, y: Batch) -> State:
        return self.bandwidth.init(y)

    @torch.no_grad()
    def __call__(
        self, y: Batch, prior: Prior, noise: Noise, progress: float, state: State | None = None
    ) -> Estimate:
        state, draws = self.init(y) if state is None else state, self.draws_per_estimate
        lam = on_device(self.bandwidth(progress, state), y.device)
        product = self.sampler(
            y.repeat_interleave(draws, 0),
            lam.repeat_interleave(draws, 0) if lam.ndim else lam,
            prior,
            repeated(noise, draws),
        )
        target = product.x.unflatten(0, (len(y), draws)).mean(1)
        after = self.bandwidth.step(state, target - y)
        return Estimate(target, y - target, product.nfe * draws, lam, denoised=target, state=after)
