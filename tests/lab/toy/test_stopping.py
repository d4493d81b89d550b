"""The criterion of convergence on densities whose modes are known."""

import torch
from msd_lab.toy import stopping
from msd_lab.toy.problems import Problem
from pytest import approx
from threestudio_msd.distillation import smoothed


def test_the_last_shifts_weigh_most():
    first, second = torch.tensor([4.0]), torch.tensor([0.0])
    assert smoothed(smoothed(first, second), second) == 1


def test_figures_tell_points_that_stop_from_those_that_do_not():
    nll = torch.tensor([[3.0, 3.0, 3.0], [1.0, 1.0, 2.0], [2.0, 0.0, 1.0]])
    found = stopping.figures(nll, torch.tensor([[1, 2, 2], [2, 2, 2], [0, 0, 0]]), 2)
    near = f"those within {stopping.WITHIN:g} nats of the best on the path"

    def of(threshold):
        names = ("points that stop by themselves", near, "calls saved", "last NLL")
        return [found[f"{name}, threshold {threshold}"] for name in names]

    assert of(0.15) == approx([1 / 3, 1, 1 / 6, 2 / 3])
    assert of(0.05) == approx([0, 2 / 3, 0, 1])
    assert of(0.02) == approx([1, 1, 1, 3])
    assert found["last NLL, never stopped"] == 1


def test_a_smaller_threshold_stops_later(tiny):
    sampler = stopping.SAMPLERS["tweedie"]
    found, nfe, _ = stopping.stopped(Problem("fractal"), sampler, 0, tiny, lambda *_: None)
    saved = [found[f"calls saved, threshold {threshold:g}"] for threshold in stopping.THRESHOLDS]
    assert nfe == tiny.steps
    assert 1 > saved[0] >= saved[1] >= saved[2] >= 0
