import math

import pytest
import torch
from msd_lab.toy.efficiency import efficiencies, gradient_efficiency, oracle_efficiency
from msd_lab.toy.problems import Problem
from threestudio_msd.distillation.efficiency import efficiency


def known(scale, noise, draws=4000):
    """Draws of `scale` times an exact gradient with noise of a known deviation; and the gradient."""
    generator = torch.Generator().manual_seed(0)
    exact = torch.randn(9, 2, generator=generator)
    return scale * (exact + noise * torch.randn(draws, 9, 2, generator=generator)), exact


def test_efficiency_of_a_known_estimator():
    """The exact gradient with noise of a known variance; neither efficiency depends on its scale."""
    g, exact = known(3.0, 0.1)
    signal = float(exact.square().sum(1).mean())
    assert efficiency(g, 2) == pytest.approx(math.log(signal / (2 * 0.01 * 2)), abs=0.05)
    # the best scale shrinks: error = S N / (S + N) for a signal S and a noise N
    assert oracle_efficiency(g, exact, 2) == pytest.approx(math.log((signal + 0.02) / (0.02 * 2)), abs=0.05)


def test_without_noise_or_signal_an_efficiency_is_infinite():
    g, _ = known(1.0, 0.0, draws=2)
    assert efficiency(g, 1) == math.inf
    noise = torch.randn(2, 9, 2, generator=torch.Generator().manual_seed(1))
    assert efficiency(noise - noise.mean(0), 1) == -math.inf


def test_a_deterministic_exact_estimator_is_infinitely_efficient(tiny):
    found, nfe = gradient_efficiency(Problem("fractal"), "MSD tweedie", 0, tiny, lambda *of: None)
    assert nfe == 1 and found["efficiency"] == math.inf == found["efficiency over the view"]
    assert found["oracle efficiency"] > 15 and found["oracle efficiency over the view"] > 15


def test_the_table_has_a_row_an_estimator(tiny, monkeypatch):
    monkeypatch.setattr("msd_lab.toy.efficiency.TABLE3", [Problem("fractal")])
    found = efficiencies(1, tiny, lambda measurements: None)
    rows = {m.method: m for m in found if m.metric == "efficiency"}
    assert list(rows) == ["SDS", "VSD", "SDI", "SDI eta 0", "MSD split", "MSD posterior", "MSD tweedie"]
    assert [m.nfe for m in rows.values()] == [1, 2, 6, 6, 16, 16, 1]
    assert rows["MSD split"].paper == 13.44 and rows["SDI eta 0"].paper is None
