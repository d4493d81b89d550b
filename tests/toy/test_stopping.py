"""The criterion of convergence on densities whose modes are known."""

import torch
from pytest import approx
from threestudio_msd.distillation import smoothed
from threestudio_msd.toy import stopping, tables
from threestudio_msd.toy.problems import Problem


def test_the_last_shifts_weigh_most():
    first, second = torch.tensor([4.0]), torch.tensor([0.0])
    assert smoothed(None, first) == first
    assert smoothed(smoothed(first, second), second) == 1


def test_figures_tell_points_that_stop_from_those_that_do_not():
    nll = torch.tensor([[3.0, 3.0, 3.0], [1.0, 1.0, 2.0], [2.0, 0.0, 1.0]])
    found = stopping.figures(nll, torch.tensor([1, 2, 2]), 2)
    assert found["points that stop by themselves"] == approx(1 / 3)
    assert found["calls saved"] == approx(1 / 6)
    assert found["NLL where it stops"] == approx(2 / 3)
    assert found["NLL after all steps"] == 1
    assert found[f"ends within {stopping.WITHIN:g} nats of the best on the path"] == 1
    late = stopping.figures(nll, torch.tensor([2, 2, 2]), 2)
    assert late[f"ends within {stopping.WITHIN:g} nats of the best on the path"] == approx(2 / 3)


def test_points_at_modes_stop_and_nothing_stops_before_the_last_bandwidth(settings):
    scale = settings.scale
    found, nfe = stopping.stopped("tweedie", Problem("fractal"), 0, scale, lambda *_: None)
    assert nfe == scale.steps
    assert 0 <= found["calls saved"] < 1
    assert found["NLL where it stops"] < 0


def test_the_command_has_a_row_for_every_sampler(settings, monkeypatch):
    monkeypatch.setattr(stopping, "PROBLEMS", (Problem("fractal"),))
    section = tables.stopping(settings)
    assert {m.method for m in section.measurements} == set(stopping.SAMPLERS)
