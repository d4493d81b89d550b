from dataclasses import replace

import pytest
from msd_lab.toy.bias import BANDWIDTHS, bias, biases, sampler_bias
from msd_lab.toy.densities import fractal
from msd_lab.toy.problems import Problem
from threestudio_msd.distillation import ExactScore, Posterior, SharedNoise, Split, Tweedie


def test_the_oracle_has_no_bias_and_no_spread(tiny):
    found, nfe = bias(fractal(), Tweedie(), 0.2, SharedNoise(0), tiny)
    assert nfe == 1 and max(found.values()) < 1e-6


def test_the_posterior_samplers_bias_is_within_the_draws_resolution_and_splits_is_not(tiny):
    scale = replace(tiny, draws=400, places=6)
    exact, _ = bias(fractal(), Posterior(steps=8), 0.5, SharedNoise(0), scale)
    paper, _ = bias(fractal(), Split(steps=8), 0.5, SharedNoise(0), scale)
    assert exact["bias"] < 2 * exact["resolution"] < 0.1
    assert 0.2 < paper["bias"] < 0.7 and paper["spread"] < 0.05


def test_the_exact_scores_bias_is_within_the_draws_resolution(tiny):
    scale = replace(tiny, draws=400, places=6)
    found, nfe = bias(fractal(), ExactScore(steps=8), 0.5, SharedNoise(0), scale)
    assert nfe == 8 and found["bias"] < 2 * found["resolution"] < 0.1


def test_every_bandwidth_is_measured(tiny):
    told = []
    found, nfe = sampler_bias(Problem("fractal"), "posterior", 4, 0, tiny, lambda *of: told.append(of))
    assert nfe == 4 and told[-1] == (5, 5) and len(found) == 3 * len(BANDWIDTHS)
    assert 0.3 < found["spread at 0.1"] < 3


def test_the_table_has_a_row_a_sampler_and_number_of_steps(tiny, monkeypatch):
    monkeypatch.setattr("msd_lab.toy.bias.STEPS", (2, 4))
    found = biases(2, tiny, lambda measurements: None)
    rows = {m.method: m.nfe for m in found}
    assert rows["split, 2 steps"] == 2 and rows["posterior, 4 steps"] == 4 and len(rows) % 2 == 0
    assert all(m.seeds == 2 for m in found)


@pytest.mark.slow
def test_the_posterior_sampler_is_within_three_percent_at_sixteen_steps(tiny):
    scale = replace(tiny, draws=1024, places=8)
    found, _ = sampler_bias(Problem("fractal"), "posterior", 16, 0, scale, lambda *of: None)
    assert max(found[f"bias at {lam:g}"] for lam in BANDWIDTHS) < 0.03
