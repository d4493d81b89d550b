"""The power-function average."""

from __future__ import annotations

import pytest
import torch
from msd_lab.averages import power_average


def averaged(values: list[float], gamma: float | None) -> float:
    average = [torch.full((1,), 1e6)]
    for step, value in enumerate(values, 1):
        power_average(average, [torch.tensor([value])], step, gamma)
    return average[0].item()


def test_gamma_zero_is_the_plain_mean():
    assert averaged([1.0, 2.0, 6.0], 0.0) == pytest.approx(3.0)


def test_weights_grow_as_the_power_of_the_step():
    values = torch.rand(400, generator=torch.Generator().manual_seed(0)).tolist()
    weights = torch.arange(1, 401, dtype=torch.double) ** 2
    expected = (weights * torch.tensor(values)).sum() / weights.sum()
    assert averaged(values, 2.0) == pytest.approx(float(expected), abs=0.01)


def test_no_gamma_keeps_the_last_value():
    assert averaged([1.0, 2.0, 6.0], None) == 6.0


@pytest.mark.parametrize(("step", "gamma", "told"), [(0, 1.0, "counted from 1"), (1, -1.0, "at least 0")])
def test_refuses_what_is_no_average(step, gamma, told):
    with pytest.raises(ValueError, match=told):
        power_average([torch.zeros(1)], [torch.ones(1)], step, gamma)
