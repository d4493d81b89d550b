import json
import math

import pytest
import torch
from threestudio_msd.distillation import MSD, Constant, Tweedie
from threestudio_msd.toy import commands, experiments
from threestudio_msd.toy.experiments import Scale
from threestudio_msd.toy.learned import Training
from threestudio_msd.toy.paper import PUBLISHED
from threestudio_msd.toy.problems import TABLE1, TABLE2, TABLE3, Problem
from threestudio_msd.toy.report import Section, grids, write_json, write_markdown, write_page

TINY = Scale(grid=6, steps=4, training=Training(width=8, steps=3, batch=16), draws=32, places=3)


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_table_has_a_cell_for_every_figure(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    reported = []
    cells = experiments.compare(TABLE1[:1], ("DDIM", "MSD"), 2, TINY, "test", reported.append)
    assert {(c.method, c.metric) for c in cells} == {
        (method, metric)
        for method in ("DDIM", "MSD")
        for metric in ("nll", "precision", "recall", "mmd", "modes")
    }
    (cell,) = [c for c in cells if (c.method, c.metric) == ("MSD", "nll")]
    assert cell.seeds == 2 and cell.paper == -1.32 and cell.std > 0 and cell.calls == 4 * 16
    assert len(reported) == 4 and reported[-1] == cells


def test_every_published_figure_belongs_to_a_column():
    assert {problem for problem, _, _ in PUBLISHED} == {*TABLE1, *TABLE2, *TABLE3}
    assert PUBLISHED[Problem("pinwheel", "learned"), "MSD", "nll"] == -2.19


def test_efficiency_of_a_known_estimator(monkeypatch):
    """The oracle itself with noise of a known variance has a known efficiency."""

    def noisy(y, prior, noise, progress):
        estimate = MSD(Tweedie(), Constant(0.1, 0.1))(y, prior, noise, progress)
        gradient = 3 * (estimate.gradient + 0.1 * noise(y))
        return experiments_estimate(gradient)

    def experiments_estimate(gradient):
        from threestudio_msd.distillation import Estimate

        return Estimate(gradient, gradient, 2, torch.tensor(0.1))

    monkeypatch.setattr(experiments, "efficiency_rows", lambda: {"noisy": lambda: noisy})
    monkeypatch.setattr(experiments, "BANDWIDTH", Constant(0.1, 0.1))
    scale = Scale(training=TINY.training, draws=4000, places=3)
    measured, calls = experiments.gradient_efficiency(Problem("fractal"), "noisy", 0, scale, lambda *a: None)
    density = Problem("fractal").target()
    (x0, y0), (x1, y1) = density.view
    seed = torch.Generator().manual_seed(experiments.seed_from(0, "places"))
    y = torch.tensor([x0, y0]) + torch.tensor([x1 - x0, y1 - y0]) * torch.rand(9, 2, generator=seed)
    assert calls == 2
    for where, places in {"": density.sample(9, seed, 0.1), " over the view": y}.items():
        signal = float((places - density.denoise(places, 0.1)).square().sum(1).mean())
        assert measured[f"efficiency{where}"] == pytest.approx(math.log(signal / (2 * 0.01 * 2)), abs=0.05)
        # the best scale shrinks: error = S N / (S + N) for a signal S and a noise N
        assert measured[f"oracle efficiency{where}"] == pytest.approx(
            math.log((signal + 0.02) / (0.02 * 2)), abs=0.05
        )


def test_the_oracle_has_no_bias():
    measured, calls = experiments.sampler_bias(Problem("fractal"), "posterior", 8, 0, TINY, lambda *a: None)
    assert calls == 8
    assert set(measured) == {
        f"{what} at {lam:g}"
        for what in ("bias", "spread", "resolution")
        for lam in experiments.BIAS_BANDWIDTHS
    }


@pytest.mark.slow
def test_the_posterior_sampler_is_within_three_percent_at_sixteen_steps():
    scale = Scale(draws=1024, places=8)
    measured, _ = experiments.sampler_bias(Problem("fractal"), "posterior", 16, 0, scale, lambda *a: None)
    assert max(measured[f"bias at {lam:g}"] for lam in experiments.BIAS_BANDWIDTHS) < 0.03


def test_an_infinite_figure_is_a_string_in_json_and_named_in_tables(tmp_path):
    cells = experiments._cells(TABLE3[0], "MSD tweedie", [({"efficiency": math.inf}, 1)])
    write_json(cells, tmp_path / "cells.json")
    (cell,) = json.loads((tmp_path / "cells.json").read_text())
    assert cell["mean"] == "inf" and cell["density"] == "fractal"
    assert grids(cells)[0].rows[0][2][0].text == "∞ (deterministic)"


def test_the_page_stands_alone(tmp_path):
    cells = experiments._cells(TABLE1[0], "MSD", [({"nll": -2.0}, 16), ({"nll": -1.0}, 16)])
    section = Section("table1", "Table <1>", "Text & more.", cells)
    write_page([section], 2, "python scripts/toy.py all", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "Table &lt;1&gt;" in page and "-1.50 ± 0.71" in page and 'class="good"' in page
    assert "http" not in page
    write_markdown([section], "python scripts/toy.py table1", tmp_path / "tables.md")
    assert "| MSD | 16 | -1.50 ± 0.71 (-1.32) |" in (tmp_path / "tables.md").read_text()


def test_the_bandwidth_command_writes_its_picture(tmp_path, capsys):
    assert commands.main(["bandwidth", "--quick", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "bandwidth.png").stat().st_size > 10_000
    assert "bandwidth.png" in capsys.readouterr().out
