"""The training loop: schedule, averaging, resuming, and failing loudly."""

from __future__ import annotations

import pytest
import torch
from msd_lab.training.loop import BFLOAT16_UNITS, TrainConfig, fit, learning_rate, quick_precision
from torch import nn


def regression(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Linear(3, 1)


def squared_error(module: nn.Module):
    truth = torch.tensor([[1.0, -2.0, 0.5]])

    def loss(generator: torch.Generator) -> torch.Tensor:
        x = torch.randn(32, 3, generator=generator)
        return (module(x) - x @ truth.T).square().mean()

    return loss


CONFIG = TrainConfig(steps=300, batch=32, lr=0.05, warmup=10, weight_decay=0.0, gamma=6.94, save_every=100)


def test_learning_rate_warms_up_and_falls_to_zero():
    rates = [learning_rate(CONFIG, step) for step in range(CONFIG.steps)]
    assert rates[0] == pytest.approx(0.1 * CONFIG.lr)
    assert max(rates) == pytest.approx(CONFIG.lr, rel=0.01)
    assert rates[-1] < 1e-4 * CONFIG.lr
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_learns_a_regression(tmp_path):
    module = regression()
    fit("test", module, squared_error(module), CONFIG, tmp_path / "state.pt")
    assert torch.allclose(module.weight, torch.tensor([[1.0, -2.0, 0.5]]), atol=0.01)
    assert not module.training


def test_stopped_and_resumed_is_as_if_never_stopped(tmp_path):
    whole = regression()
    fit("test", whole, squared_error(whole), CONFIG, tmp_path / "whole.pt")

    class Stop(Exception):
        pass

    saves = iter((100, 200))

    def stop_at_200() -> None:
        if next(saves) == 200:
            raise Stop

    parts = regression()
    with pytest.raises(Stop):
        fit("test", parts, squared_error(parts), CONFIG, tmp_path / "parts.pt", stop_at_200)
    resumed = regression(seed=9)
    fit("test", resumed, squared_error(resumed), CONFIG, tmp_path / "parts.pt")
    assert torch.equal(resumed.weight, whole.weight)
    assert torch.equal(resumed.bias, whole.bias)


def test_the_average_is_lent_while_saving_and_training_goes_on_without_it(tmp_path):
    plain, watched = regression(), regression()
    config = TrainConfig(steps=50, batch=32, lr=0.05, gamma=None, save_every=10)
    fit("test", plain, squared_error(plain), config, tmp_path / "plain.pt")
    modes = []
    fit(
        "test", watched, squared_error(watched), config, tmp_path / "watched.pt",
        lambda: modes.append(watched.training),
    )  # fmt: skip
    assert modes == [False] * 5
    assert torch.equal(plain.weight, watched.weight)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(tmp_path):
    module = regression()
    good = squared_error(module)
    calls = iter(range(1000))

    def loss(generator: torch.Generator) -> torch.Tensor:
        return good(generator) * (float("nan") if next(calls) == 120 else 1.0)

    with pytest.raises(FloatingPointError, match="nan at step 120"):
        fit("test", module, loss, CONFIG, tmp_path / "state.pt")
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 100


@pytest.mark.parametrize("unit", (*BFLOAT16_UNITS, None))
def test_bfloat16_only_where_the_cpu_has_units_for_it(monkeypatch, unit):
    units = {"avx2": True, **{name: name == unit for name in BFLOAT16_UNITS}}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units)
    with quick_precision():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if unit else torch.float32)


def test_a_cpu_that_tells_nothing_gets_single_precision(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    with quick_precision():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_a_torch_that_cannot_tell_gets_single_precision(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    with quick_precision():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
