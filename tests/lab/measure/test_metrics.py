"""Figures against closed forms and against libraries."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from msd_lab.measure.metrics import (
    contrast,
    diversity,
    frechet_distance,
    kernel_distance,
    precision_recall,
    saturation,
    sharpness,
)
from msd_lab.report.table import Spread

RNG = np.random.default_rng(0)


def test_frechet_distance_of_gaussians_in_closed_form():
    # for axis-aligned Gaussians: |mu_a - mu_b|^2 + sum (s_a - s_b)^2
    a = RNG.standard_normal((200_000, 3)) * [1.0, 2.0, 0.5]
    b = RNG.standard_normal((200_000, 3)) * [2.0, 2.0, 1.5] + [3.0, 0.0, 0.0]
    assert frechet_distance(a, b) == pytest.approx(9 + 1 + 0 + 1, rel=0.01)


def test_frechet_distance_equals_torchmetrics():
    fid = pytest.importorskip("torchmetrics.image.fid")
    a, b = RNG.standard_normal((60, 8)), RNG.standard_normal((50, 8)) * 2 + 1
    stats = [(torch.from_numpy(x.mean(0)), torch.from_numpy(np.cov(x, rowvar=False))) for x in (a, b)]
    expected = float(fid._compute_fid(stats[0][0], stats[0][1], stats[1][0], stats[1][1]))
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_is_zero_for_the_same_set_even_with_fewer_images_than_dimensions():
    a = RNG.standard_normal((20, 64)).astype(np.float32)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-4)
    assert frechet_distance(a, a + 1) == pytest.approx(64, rel=1e-3)


def test_kernel_distance_is_the_unbiased_estimate_of_the_definition():
    a, b = RNG.standard_normal((5, 3)), RNG.standard_normal((4, 3)) + 1

    def kernel(x, y):
        return (x @ y / 3 + 1) ** 3

    within = [
        np.mean([kernel(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j]) for x in (a, b)
    ]
    across = np.mean([kernel(x, y) for x in a for y in b])
    assert kernel_distance(a, b) == pytest.approx(sum(within) - 2 * across)


def test_precision_and_recall_tell_quality_from_coverage():
    real = np.concatenate([RNG.standard_normal((100, 2)), RNG.standard_normal((100, 2)) + 50])
    one_mode, off = RNG.standard_normal((100, 2)), RNG.standard_normal((100, 2)) - 500
    precision, recall = precision_recall(real, one_mode)
    assert precision > 0.9
    assert 0.3 < recall < 0.6
    assert precision_recall(real, off) == (0.0, 0.0)


def test_diversity_is_the_distance_within_groups():
    features = np.array([[0.0, 0.0], [3.0, 4.0], [100.0, 0.0], [100.0, 1.0], [7.0, 7.0]])
    assert diversity(features, ["a", "a", "b", "b", "alone"]) == pytest.approx((5 + 1) / 2)
    assert math.isnan(diversity(features[:1], ["alone"]))


def test_saturation_and_sharpness():
    grey, red = torch.full((1, 8, 8, 3), 0.5), torch.zeros(1, 8, 8, 3)
    red[..., 0] = 0.7
    assert saturation(torch.cat([grey, red])).tolist() == pytest.approx([0, 1])
    board = (
        (torch.arange(8)[:, None] + torch.arange(8)).remainder(2).float()[None, :, :, None].expand(1, 8, 8, 3)
    )
    flat, sharp = sharpness(torch.cat([grey, board])).tolist()
    assert flat == pytest.approx(0, abs=1e-9)
    # the Laplacian of a checkerboard is +-4 everywhere
    assert sharp == pytest.approx(16, rel=0.05)


def test_contrast_is_the_deviation_of_brightness():
    halves = torch.zeros(1, 4, 4, 3)
    halves[:, :2] = 0.6
    assert contrast(torch.cat([halves, torch.full((1, 4, 4, 3), 0.6)])).tolist() == pytest.approx([0.3, 0])


def test_spread():
    assert math.isnan(Spread(()).mean) and math.isnan(Spread((1.0, math.nan)).mean)
    assert str(Spread((1.0, 2.0, 3.0))) == "2.00 ± 1.00 (n=3)"
    assert math.isnan(Spread((1.0,)).std)


@pytest.mark.parametrize("a, b", [((1, 3), (5, 3)), ((5, 3), (5, 4)), ((5,), (5, 3))])
def test_sets_that_cannot_be_compared_are_refused(a, b):
    for measure in (frechet_distance, kernel_distance, precision_recall):
        with pytest.raises(ValueError, match=r"too small|expected features"):
            measure(np.zeros(a), np.zeros(b))
