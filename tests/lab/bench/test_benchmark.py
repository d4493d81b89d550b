"""The benchmark's ratios, on work of known cost."""

from __future__ import annotations

import time

import pytest
import torch
from msd_lab.bench.benchmark import BENCHMARKS, timed
from threestudio_msd.priors import load_model


def test_a_ratio_says_how_much_faster_the_fast_way_is():
    ratio = timed("sleep", lambda: time.sleep(0.04), lambda: time.sleep(0.01), rounds=3)
    assert 2 < ratio.ratio < 6
    assert ratio.quartiles[0] <= ratio.ratio <= ratio.quartiles[1]
    assert ratio.plain_ms >= 40


@pytest.mark.slow
@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda benchmark: benchmark.__name__)
def test_every_benchmark_runs_and_names_its_two_sides(benchmark, tiny_model):
    name, plain, fast = benchmark(tiny_model)
    assert " / " in name
    plain()
    fast()


@pytest.fixture(scope="module")
def tiny_model():
    from threestudio_msd.assets_path import TINY_PRIOR, asset

    torch.manual_seed(0)
    return load_model(asset(TINY_PRIOR))
