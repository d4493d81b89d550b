"""The benchmark's ratios, on work of known cost."""

from __future__ import annotations

import time

import pytest
import torch
from msd_lab.bench import benchmark as timing
from msd_lab.bench.benchmark import BENCHMARKS, timed
from threestudio_msd.priors import load_model


def test_a_ratio_says_how_much_faster_the_fast_way_is(monkeypatch):
    spent = [0.0]
    monkeypatch.setattr(timing, "clock", lambda: spent[0])
    costs = iter([9.0, 9.0, 4.0, 1.0, 8.0, 1.0, 6.0, 1.0])  # plain, fast, in turn; the first round warms up

    def work():
        spent[0] += next(costs)

    assert timed(work, work, 3) == {"plain_ms": 6000, "fast_ms": 1000, "ratio": 6, "low": 4, "high": 8}


def test_the_clock_counts_this_process_alone(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    before = time.process_time()
    assert before <= timing.clock() <= time.process_time()


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
