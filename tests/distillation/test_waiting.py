"""No solver step makes a GPU wait.

On the meta device a tensor has no values, so that whatever would read one (`float`, `bool`, `.item()`, an
index that is no tensor, a count of a mask) raises; it stands for a GPU that is never waited for. Copies from
the host, for which it waits too unless they come from pinned memory, are counted.
"""

from __future__ import annotations

import pytest
import torch
from threestudio_msd.distillation import (
    CSD,
    ISM,
    MSD,
    SDI,
    SDS,
    VSD,
    Adaptive,
    Constant,
    ExactScore,
    GuidedPrior,
    Posterior,
    SampleNoise,
    Split,
    TableSchedule,
    Tweedie,
    sample,
)
from threestudio_msd.distillation.solvers import SOLVERS
from torch.utils._python_dispatch import TorchDispatchMode

META = torch.device("meta")
SAMPLERS = [
    *(Split(steps=6, solver=solver, kernel_interval=(0.3, 2.0)) for solver in SOLVERS),
    Split(steps=6, centre="inversion"),
    *(Posterior(steps=6, order=order) for order in (1, 2)),
    Posterior(steps=6, start="inversion"),
    *(ExactScore(steps=6, solver=solver) for solver in SOLVERS),
    ExactScore(steps=6, kernel_interval=(0.3, 2.0)),
    Tweedie(),
]


class Network(GuidedPrior):
    """Guidance of a denoiser whose schedule is a table, as a pretrained model's."""

    def __init__(self):
        self.schedule, self.scale = TableSchedule(torch.linspace(0.01, 3, 50)), 7.5

    def conditional(self, z, sigma):
        return z / (1 + self.schedule.timestep(sigma.expand(len(z)))[:, None])

    unconditional = conditional

    def branches(self, z, sigma):
        return self.conditional(z, sigma), z


class Copies(TorchDispatchMode):
    """Counts what is copied from the host to the device."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        copied = function is torch.ops.aten._to_copy.default and args[0].device != META
        self.count += copied and kwargs.get("device") == META
        return function(*args, **kwargs)


def on_meta(work):
    """Do something with renders that have no values; what was copied to them."""
    y = torch.empty(3, 4, device=META)
    with Copies() as copies:
        work(y, Network(), torch.zeros_like)
    return copies.count


@pytest.mark.parametrize("bandwidth", [Constant(1.0, 1.0), Adaptive(1.0, 0.1)], ids=["number", "tensor"])
@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_no_step_of_a_sampler_waits(sampler, bandwidth):
    msd = MSD(sampler, bandwidth, draws_per_estimate=2)
    assert on_meta(lambda y, prior, noise: msd(y, prior, noise, 0.5, msd.init(y))) <= 4


@pytest.mark.parametrize(
    "estimator",
    [SDS(), CSD(), SDI(), SDI(steps=40), ISM(), VSD(Network().denoiser)],
    ids=lambda e: type(e).__name__,
)
def test_no_other_estimator_waits(estimator):
    assert on_meta(lambda y, prior, noise: estimator(y, prior, noise, 0.5)) <= 4


@pytest.mark.parametrize("solver", SOLVERS)
def test_no_step_of_plain_sampling_waits(solver):
    sigmas = torch.linspace(3, 0, 9).to(META)
    assert on_meta(lambda y, prior, noise: sample(prior.denoiser, y, sigmas, solver)) <= 1


def test_what_waits_is_found():
    with pytest.raises(RuntimeError, match="meta"):
        on_meta(lambda y, prior, noise: prior.denoiser(y, y[0, 0]) if y[0, 0] > 0 else y)
    assert on_meta(lambda y, prior, noise: [noise(torch.zeros(3, 4)).to(META) for _ in range(7)]) == 7


def test_noise_of_the_host_is_the_same_on_every_device():
    drawn = SampleNoise([1, 2])(torch.empty(2, 3, device=META))
    assert drawn.device == META and drawn.shape == (2, 3)
