import re
from dataclasses import replace

import imageio.v3 as imageio
import pytest
from msd_lab.toy import annealing, scan, stopping
from msd_lab.toy.densities import eight_gaussians
from msd_lab.toy.experiment import run
from msd_lab.toy.experiments import EXPERIMENTS, methods
from msd_lab.toy.problems import TABLE1, Problem

FRACTAL = (Problem("fractal"),)


def size(picture):
    return imageio.imread(picture).shape[:2]


def test_every_published_figure_belongs_to_a_column_and_a_row():
    for experiment in EXPERIMENTS:
        for problem, method, _ in experiment.paper:
            (batch,) = experiment.batches
            assert problem in batch.problems and method in batch.methods


def test_table_1_states_what_bounds_a_figure(experiment, tiny, tmp_path):
    few = experiment("table1", methods=methods("DDIM", "MSD tweedie"), problems=[Problem("8gaussians")])
    found = run(few, tiny, 1, tmp_path)
    assert {m.method for m in found.measurements} == {"DDIM", "MSD tweedie"}
    bound = float(re.search(r"8gaussians (-?\d\.\d\d) and [01]\.\d{3}\.$", found.text)[1])
    density = eight_gaussians()
    assert bound == pytest.approx(-float(density.logp(density.grid(400)).max()), abs=0.05)
    assert min(m.mean for m in found.measurements if m.metric == "nll") >= bound


def test_a_table_has_a_figure_for_every_method_and_metric(experiment, tiny, tmp_path):
    saved = []
    table1 = experiment("table1", methods=methods("DDIM", "MSD"), problems=TABLE1[:1])
    found = run(table1, tiny, 2, tmp_path, saved.append).measurements
    assert {(m.method, m.metric) for m in found} == {
        (method, metric)
        for method in ("DDIM", "MSD")
        for metric in ("nll", "precision", "recall", "mmd", "modes")
    }
    (figure,) = [m for m in found if (m.method, m.metric) == ("MSD", "nll")]
    assert figure.seeds == 2 and figure.paper == -1.32 and figure.std > 0 and figure.nfe == 4 * 16
    assert len(saved) == 4 and saved[-1] == found


def test_table_3_has_a_row_an_estimator(experiment, tiny, tmp_path):
    found = run(experiment("table3", problems=FRACTAL), tiny, 1, tmp_path).measurements
    rows = {m.method: m for m in found if m.metric == "efficiency"}
    assert list(rows) == ["SDS", "VSD", "SDI", "SDI eta 0", "MSD split", "MSD posterior", "MSD tweedie"]
    assert [m.nfe for m in rows.values()] == [1, 2, 6, 6, 16, 16, 1]
    assert rows["MSD split"].paper == 13.44 and rows["SDI eta 0"].paper is None


def test_the_biases_have_a_row_a_sampler_and_number_of_steps(experiment, tiny, tmp_path):
    (batch,) = experiment("bias").batches
    rows = {name: row for name, row in batch.methods.items() if row[1] == 4}
    assert len(rows) == len(batch.methods) / 4
    found = run(experiment("bias", methods=rows), tiny, 2, tmp_path).measurements
    nfe = {m.method: m.nfe for m in found}
    assert nfe["split, 4 steps"] == 4 and nfe["posterior, 4 steps"] == 4 and nfe.keys() == rows.keys()
    assert all(m.seeds == 2 for m in found)


def test_the_frontier_is_a_table_and_a_picture(experiment, tiny, tmp_path):
    problems = [Problem("8gaussians", kind) for kind in ("ideal", "learned")]
    found = run(experiment("frontier", problems=problems), tiny, 3, tmp_path)
    assert len({(m.problem, m.method) for m in found.measurements}) == 4
    nll = {m.method: m.mean for m in found.measurements if (m.problem, m.metric) == (problems[0], "nll")}
    assert list(nll) == ["λ from 0.2", "λ from 0.6"] and len(set(nll.values())) == 2
    assert {m.seeds for m in found.measurements} == {1}
    ((file, caption),) = found.pictures
    assert file.stat().st_size > 5000 and "0.2, 0.6" in caption


def test_figure_1_has_a_row_a_problem(experiment, tiny, tmp_path):
    two = experiment("figure1", methods=methods("DDIM", "MSD"))
    ((file, _),) = run(two, tiny, 1, tmp_path).pictures
    height, width = size(file)
    assert width / height == pytest.approx(3 * 2.7 / (2 * 2.95), abs=0.01)


def test_points_has_a_picture_a_denoiser(experiment, tiny, tmp_path):
    problems = (*FRACTAL, Problem("8gaussians"), Problem("fractal", "learned"))
    few = experiment("points", problems=problems, methods=methods("DDIM", "VSD"))
    few = replace(few, batches=few.batches[:1])
    (ideal, _), (learned, _) = run(few, tiny, 1, tmp_path).pictures
    assert size(ideal)[0] > size(learned)[0] > 100


def test_paths_are_two_animations(experiment, tiny, tmp_path):
    two = experiment("paths", methods=methods("SDS", "MSD"))
    ((gif, caption),) = run(two, tiny, 1, tmp_path).pictures
    mp4 = gif.with_suffix(".mp4")
    assert mp4.name in caption and mp4.stat().st_size > 1000
    frames = imageio.imread(gif)
    assert len(frames) >= tiny.steps + 1 and (frames[0] != frames[-1]).any()


def test_the_landscapes_share_of_curl_is_measured(experiment, tiny, tmp_path):
    (batch,) = experiment("landscape").batches
    assert list(batch.methods) == ["SDS", "VSD", "SDI", "MSD, λ = 0.12", "MSD, λ = 0.03"]
    one = {name: batch.methods[name] for name in ("MSD, λ = 0.03",)}
    found = run(experiment("landscape", methods=one), tiny, 1, tmp_path)
    assert [m.method for m in found.measurements] == 2 * list(one)
    assert all(0 <= m.mean <= 1 and m.metric == "curl" for m in found.measurements)
    assert {m.problem for m in found.measurements} == {*FRACTAL, Problem("fractal", "learned")}
    assert [file.name for file, _ in found.pictures] == ["landscape-ideal.png", "landscape-learned.png"]
    assert all(file.stat().st_size > 10_000 for file, _ in found.pictures)


def test_bandwidth_is_a_picture(experiment, tiny, tmp_path):
    found = run(experiment("bandwidth"), tiny, 1, tmp_path)
    ((file, _),) = found.pictures
    height, width = size(file)
    assert width / height == pytest.approx(5 * 2.9 / 3.9, abs=0.01) and not found.measurements


def test_annealing_prints_a_law_and_draws_it(experiment, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(annealing, "LEVELS", (1, 2))
    monkeypatch.setattr(annealing, "MOST", 32)
    monkeypatch.setattr(annealing, "SEPARATIONS", (3.0, 4.0))
    found = run(experiment("annealing"), tiny, 1, tmp_path)
    ((file, _),) = found.pictures
    assert file.stat().st_size > 5000 and "ln K" in found.text and "K²" in found.text
    assert {m.method for m in found.measurements} >= {"linear", "adaptive", "constant, one draw a step"}


def test_stopping_has_a_row_for_every_sampler(experiment, tiny, tmp_path):
    found = run(experiment("stopping", problems=FRACTAL), tiny, 1, tmp_path)
    assert {m.method for m in found.measurements} == set(stopping.SAMPLERS)


def test_the_scan_tries_every_method_and_shows_the_nearest_of_each(experiment, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(scan, "LEARNING_RATES", (0.1,))
    monkeypatch.setattr(scan, "STARTS", (1.0, 0.0))
    assert {scan.method_of(name) for name in scan.set_ups()} == {"MSD", "SDS", "VSD", "SDI"}
    assert len(scan.set_ups()) == 2 * (3 + 1 + 3 + 1)
    found = run(experiment("scan"), tiny, 1, tmp_path)
    shown = dict.fromkeys(m.method for m in found.measurements)
    assert len(shown) == 16 + 4
    chosen = [label.partition(":")[0] for label in shown if label.endswith(", nearest")]
    assert chosen == ["MSD", "SDS", "VSD", "SDI"]
    assert "16 set-ups" in found.text
