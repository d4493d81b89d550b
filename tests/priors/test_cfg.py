"""Guidance of conditional denoisers: Eq. 13 in one batch, and no branch that has no weight."""

from __future__ import annotations

import pytest
import torch
from mixtures import triangle
from threestudio_msd.distillation import KarrasSchedule, PairPrior
from threestudio_msd.priors import CFG, PerpNeg, cfg, evaluate, perpendicular


class Shifted:
    """The exact denoiser of three modes that are moved by the condition; counts the rows it is asked for."""

    def __init__(self) -> None:
        self.schedule, self.evaluations = KarrasSchedule(0.002, 80.0), 0

    def __call__(
        self, z: torch.Tensor, sigma: torch.Tensor, condition: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        self.evaluations += len(z)
        return triangle()(z - condition["shift"], sigma) + condition["shift"]


@pytest.fixture
def denoiser() -> Shifted:
    return Shifted()


def shifts(*values: float, rows: int = 2) -> list[dict[str, torch.Tensor]]:
    return [{"shift": torch.full((rows, 2), v)} for v in values]


def state(rows: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(rows, 2, generator=torch.Generator().manual_seed(0)), torch.tensor(0.7)


def test_cfg_is_equation_13(denoiser):
    (cond, empty), (z, sigma) = shifts(0.3, 0.0), state()
    guided = CFG(denoiser, cond, empty, 3.0).denoiser(z, sigma)
    assert denoiser.evaluations == 4
    eps_c, eps_u = ((z - denoiser(z, sigma, c)) / sigma for c in (cond, empty))
    assert torch.allclose((z - guided) / sigma, eps_u + 3.0 * (eps_c - eps_u), atol=1e-4)


@pytest.mark.parametrize(("scale", "shown"), [(1.0, 0), (0.0, 1), (1, 0), (0, 1)])
def test_a_branch_without_weight_is_not_evaluated(denoiser, scale, shown):
    conditions, (z, sigma) = shifts(0.3, 0.0), state()
    denoised = CFG(denoiser, *conditions, scale).denoiser(z, sigma)
    assert denoiser.evaluations == 2
    assert torch.equal(denoised, denoiser(z, sigma, conditions[shown]))


def test_the_direction_is_what_guidance_multiplies(denoiser):
    (cond, empty), (z, sigma) = shifts(0.3, 0.0), state()
    prior = CFG(denoiser, cond, empty, 7.5)
    direction = prior.direction(z, sigma)
    assert torch.allclose(prior.at(4.0)(z, sigma), prior.at(0.0)(z, sigma) + 4.0 * direction, atol=1e-5)


def test_conditions_are_repeated_for_several_draws_a_sample(denoiser):
    cond = {"shift": torch.tensor([[0.0, 0.0], [1.0, 1.0]])}
    z, sigma = state(6)
    (whole,) = evaluate(denoiser, z, sigma, cond)
    (second,) = evaluate(denoiser, z[3:], sigma, {"shift": cond["shift"][1:]})
    assert torch.allclose(whole[3:], second, atol=1e-5)


def test_conditions_are_batched_once_for_each_prior(denoiser, monkeypatch):
    calls, batched = [], cfg.batched
    monkeypatch.setattr(cfg, "batched", lambda conditions: calls.append(1) or batched(conditions))
    z, sigma = state(6)
    for values in ((0.3, 0.0), (0.6, 0.1)):
        cond, empty = shifts(*values)
        prior = CFG(denoiser, cond, empty, 3.0)
        found = [prior.denoiser(z[:rows], sigma) for rows in (2, 6, 2)]
        alone = [denoiser(z, sigma, {"shift": torch.full((6, 2), v)}) for v in values]
        expected = alone[1] + 3.0 * (alone[0] - alone[1])
        assert torch.allclose(found[1], expected, atol=1e-5)
        assert torch.allclose(found[0], expected[:2], atol=1e-5) and torch.equal(found[0], found[2])
    assert len(calls) == 2


def perp_neg(denoiser, cond, empty, negative, weight: float, scale: float = 5.0) -> PerpNeg:
    return PerpNeg(denoiser, cond, empty, scale, [negative], torch.full((2, 1), weight))


def test_perp_neg_without_negatives_is_cfg_and_ignores_parallel_ones(denoiser):
    (cond, empty, other), (z, sigma) = shifts(0.3, 0.0, 0.6), state()
    cfg = CFG(denoiser, cond, empty, 5.0).denoiser(z, sigma)
    assert torch.allclose(cfg, perp_neg(denoiser, cond, empty, other, 0.0).denoiser(z, sigma), atol=1e-4)
    assert torch.allclose(cfg, perp_neg(denoiser, cond, empty, cond, -3.0).denoiser(z, sigma), atol=1e-3)
    assert not torch.allclose(cfg, perp_neg(denoiser, cond, empty, other, -3.0).denoiser(z, sigma), atol=1e-3)


def test_perp_neg_at_scale_1_still_needs_every_branch(denoiser):
    (cond, empty, other), (z, sigma) = shifts(0.3, 0.0, 0.6), state()
    guided = perp_neg(denoiser, cond, empty, other, -3.0, scale=1.0).denoiser(z, sigma)
    assert denoiser.evaluations == 6
    unconditional, direction = perp_neg(denoiser, cond, empty, other, -3.0).branches(z, sigma)
    assert torch.allclose(guided, unconditional + direction, atol=1e-5)


def test_perpendicular():
    x, y = torch.tensor([[1.0, 1.0], [1.0, 2.0]]), torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    assert torch.allclose(perpendicular(x, y), torch.tensor([[0.0, 1.0], [1.0, 2.0]]))


def test_guidance_by_a_weaker_model():
    """Autoguidance (Karras et al. 2024): the same rule for a pair of denoisers."""
    strong, weak, (z, sigma) = triangle(0.1), triangle(0.4), state(3)
    expected = weak(z, sigma) + 3.0 * (strong(z, sigma) - weak(z, sigma))
    prior = PairPrior(strong, weak, KarrasSchedule(0.002, 80.0), 3.0)
    assert torch.allclose(prior.denoiser(z, sigma), expected, atol=1e-6)
