"""Parametrisations: whatever the network predicts, the wrapped denoiser is the same D."""

from __future__ import annotations

import pytest
import torch
from mixtures import Mixture, triangle
from threestudio_msd.distillation import KarrasSchedule, TableSchedule, expand
from threestudio_msd.priors import FlowDenoiser, VPDenoiser

BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
SCHEDULE = TableSchedule.from_alphas_cumprod((1 - BETAS).cumprod(0))
CONDITION = {"shift": torch.zeros(4, 2)}


def nearest_level(*sigmas: float) -> torch.Tensor:
    """The training levels nearest to these."""
    return SCHEDULE.sigma_at(SCHEDULE.timestep(torch.tensor(sigmas)).round())


def vp_network(mixture: Mixture, kind: str):
    """What a perfectly trained network would return for the mixture, its means moved by the condition."""

    def network(sample, time, shift):
        sigma = SCHEDULE.sigma_at(time).to(sample)
        s, alpha = expand(sigma, sample), expand((1 + sigma**2).rsqrt(), sample)
        z = sample / alpha
        x0 = mixture(z - shift, sigma) + shift
        eps = (z - x0) / s
        return {"epsilon": eps, "v_prediction": alpha * eps - s * alpha * x0, "sample": x0}[kind]

    return network


def flow_network(mixture: Mixture):
    def network(sample, time, shift):
        t = expand(time / 1000, sample)
        sigma = time / 1000 / (1 - time / 1000)
        x0 = mixture(sample / (1 - t) - shift, sigma) + shift
        return (sample - x0) / t

    return network


DENOISERS = {
    kind: VPDenoiser(vp_network(triangle(), kind), SCHEDULE, kind)
    for kind in ("epsilon", "v_prediction", "sample")
}
DENOISERS["flow"] = FlowDenoiser(flow_network(triangle()), KarrasSchedule(0.01, 20.0))


@pytest.mark.parametrize("kind", DENOISERS)
@pytest.mark.parametrize("sigma", [0.05, 0.7, 10.0])
def test_every_wrapper_gives_the_same_denoiser(kind, sigma):
    z = sigma * torch.randn(4, 2, generator=torch.Generator().manual_seed(0)) + 0.5
    level = nearest_level(sigma)[0]
    assert torch.allclose(DENOISERS[kind](z, level, CONDITION), triangle()(z, level), atol=2e-3)


@pytest.mark.parametrize("kind", DENOISERS)
def test_levels_may_differ_by_row_and_rows_are_counted(kind):
    denoiser, z = DENOISERS[kind], torch.randn(4, 2)
    levels = nearest_level(0.1, 0.5, 2.0, 8.0)
    before = denoiser.evaluations
    whole = denoiser(z, levels, CONDITION)
    assert denoiser.evaluations - before == 4
    rows = [denoiser(z[i : i + 1], levels[i], {"shift": torch.zeros(1, 2)}) for i in range(4)]
    assert torch.allclose(whole, torch.cat(rows), atol=1e-5)


def test_an_unknown_prediction_type_is_refused():
    with pytest.raises(ValueError, match="flow"):
        VPDenoiser(lambda *a, **k: a[0], SCHEDULE, "flow")
