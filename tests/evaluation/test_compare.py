"""Grids of runs, budgets, curves and the report, with a launcher that takes no time."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import partial

import pytest
import torch
from evaluation.fakes import MeanColour
from omegaconf import OmegaConf
from PIL import Image
from threestudio_msd.evaluation import references
from threestudio_msd.evaluation.compare import Budget, Comparison, calls_to_reach, compare, convergence
from threestudio_msd.evaluation.grid import Cell, Method, run_cell, run_grid, run_locally, run_on_ray
from threestudio_msd.evaluation.images import write_samples
from threestudio_msd.evaluation.references import Sampling
from threestudio_msd.evaluation.report import markdown, number, write_report, write_sheets

LAUNCHER = "evaluation.fakes:launch"
CONFIG = OmegaConf.create({"system": {"guidance": {"pretrained_model_name_or_path": "some-model"}}})
GOOD, BAD = Method("GOOD", "good.yaml", ("calls=4",)), Method("BAD", "bad.yaml")


def one_by_one(cells, ran=None):
    """Runs cells in this process."""
    for cell in cells:
        if ran is not None:
            ran.append(cell)
        try:
            run_cell(cell, LAUNCHER)
            yield cell, None
        except RuntimeError as error:
            yield cell, str(error)


@pytest.fixture
def _grey_samples(monkeypatch):
    """DDIM images: grey, with a little noise, so that covariances are not degenerate."""

    def sample(config, prompts, seeds, settings, out):
        for prompt in prompts:
            for seed in seeds:
                generator = torch.Generator().manual_seed(seed + len(prompt))
                write_samples(
                    out,
                    prompt,
                    seed,
                    0.5 + 0.1 * torch.randn(settings.particles, 8, 8, 3, generator=generator),
                )
        return references.read_records(out)

    monkeypatch.setattr("threestudio_msd.evaluation.compare.sample_prompts", sample)


def comparison(out, *methods, **settings):
    defaults = {
        "prompts": ["a red mug", "a blue car"],
        "seeds": 2,
        "budgets": [Budget("steps", 8)],
        "particles": 4,
        "frames": 4,
    }
    return Comparison(
        methods or (GOOD, BAD), out=out, sampling=Sampling(4, 10, 2.0), **{**defaults, **settings}
    )


@pytest.mark.usefixtures("_grey_samples")
def test_the_better_method_wins_and_a_second_call_runs_nothing(tmp_path):
    ran = []
    for _ in range(2):
        results = compare(comparison(tmp_path), CONFIG, MeanColour(), partial(one_by_one, ran=ran))
    assert len(ran) == 8
    table = results["budgets"]["steps=8"]
    assert (
        table["GOOD"]["figures"]["frechet_ddim"]["mean"]
        < 0.1 * table["BAD"]["figures"]["frechet_ddim"]["mean"]
    )
    assert len(table["GOOD"]["figures"]["frechet_ddim"]["values"]) == 2
    assert (table["GOOD"]["calls"], table["BAD"]["calls"], table["GOOD"]["finished"]) == (32, 16, 4)
    assert [point["step"] for point in table["GOOD"]["curves"]] == [0, 2, 4, 6, 8]
    # the last point of the path is the result
    assert (
        table["BAD"]["curves"][-1]["frechet_ddim"]["mean"] == table["BAD"]["figures"]["frechet_ddim"]["mean"]
    )
    assert json.loads((tmp_path / "results.json").read_text()) == json.loads(json.dumps(results))


@pytest.mark.usefixtures("_grey_samples")
def test_a_budget_of_calls_gives_every_method_the_steps_it_can_pay_for(tmp_path):
    results = compare(comparison(tmp_path, budgets=[Budget("calls", 48)]), CONFIG, MeanColour(), one_by_one)
    table = results["budgets"]["calls=48"]
    assert {label: (row["steps"], row["calls"]) for label, row in table.items()} == {
        "GOOD": (12, 48),
        "BAD": (24, 48),
    }


@pytest.mark.usefixtures("_grey_samples")
def test_a_failed_cell_is_reported_does_not_stop_the_rest_and_is_run_again(tmp_path, capsys):
    broken = Method("BROKEN", "broken.yaml", ("fail=true",))
    results = compare(comparison(tmp_path, GOOD, broken), CONFIG, MeanColour(), one_by_one)
    assert len(results["failed"]) == 4
    assert "something went wrong" in results["failed"][0]["error"]
    assert "failed: BROKEN" in capsys.readouterr().err
    assert set(results["budgets"]["steps=8"]) == {"GOOD"}
    ran = []
    compare(comparison(tmp_path, GOOD, broken), CONFIG, MeanColour(), partial(one_by_one, ran=ran))
    assert {cell.method for cell in ran} == {broken}


def test_an_unfinished_or_changed_cell_is_run_afresh(tmp_path):
    cell = Cell(GOOD, "a red mug", 0, 8, str(tmp_path))
    run_cell(cell, LAUNCHER)
    assert cell.finished
    assert not Cell(GOOD, "a red mug", 0, 9, str(tmp_path)).finished
    config = tmp_path / "config.yaml"
    config.write_text("a: 1")
    changing = Cell(Method("CHANGING", str(config)), "a red mug", 0, 8, str(tmp_path))
    run_cell(changing, LAUNCHER)
    assert changing.finished
    config.write_text("a: 2")
    assert not changing.finished
    (cell.folder / "done.json").unlink()
    (cell.folder / "left-over").touch()
    assert run_grid([cell], one_by_one) == {}
    assert cell.finished
    assert not (cell.folder / "left-over").exists()


def images_of(cells):
    return {
        cell.folder.name: (cell.folder / f"save/it{cell.steps}-test/0.png").read_bytes() for cell in cells
    }


def cells_in(folder):
    broken = Method("BROKEN", "broken.yaml", ("fail=true",))
    return [Cell(method, "a red mug", seed, 4, str(folder)) for method in (GOOD, broken) for seed in (0, 1)]


def test_processes_give_what_one_process_gives(tmp_path):
    failed = run_grid(cells_in(tmp_path / "a"), partial(run_locally, launcher=LAUNCHER, jobs=2))
    run_grid(cells_in(tmp_path / "b"), one_by_one)
    assert sorted(cell.method.label for cell in failed) == ["BROKEN", "BROKEN"]
    assert images_of(cells_in(tmp_path / "a")[:2]) == images_of(cells_in(tmp_path / "b")[:2])


@pytest.mark.slow
def test_a_local_ray_gives_what_one_process_gives(tmp_path):
    pytest.importorskip("ray")
    failed = run_grid(cells_in(tmp_path / "a"), partial(run_on_ray, launcher=LAUNCHER, address="local"))
    run_grid(cells_in(tmp_path / "b"), one_by_one)
    assert sorted(cell.method.label for cell in failed) == ["BROKEN", "BROKEN"]
    assert images_of(cells_in(tmp_path / "a")[:2]) == images_of(cells_in(tmp_path / "b")[:2])


def test_calls_to_reach_a_level():
    curve = [{"calls": c, "fd": {"mean": v}} for c, v in ((0, 10.0), (100, 6.0), (200, 2.0))]
    assert calls_to_reach(curve, "fd", 4.0) == pytest.approx(150)
    assert calls_to_reach(curve, "fd", 20.0) == 0
    assert calls_to_reach(curve, "fd", 1.0) is None


def test_convergence_is_told_against_the_best_other_method():
    def row(values, calls):
        points = [{"calls": i * calls / (len(values) - 1), "fd": {"mean": v}} for i, v in enumerate(values)]
        return {"calls": calls, "curves": points, "figures": {"fd": {"mean": values[-1]}}}

    table = {"OURS": row([10.0, 2.0], 100), "B": row([10.0, 6.0], 200), "C": row([10.0, 9.0], 50)}
    found = convergence(table, "OURS", "fd")
    assert (found["method"], found["reached"], found["ratio"]) == ("B", 50.0, 0.25)
    assert convergence(table, "C", "fd")["reached"] is None


@pytest.mark.parametrize("text", ["steps", "steps=0", "calls=-3", "hours=2", "steps=1.5"])
def test_malformed_budgets_are_refused(text):
    with pytest.raises(ValueError, match="expected steps=N or calls=N"):
        Budget.parse(text)


def test_methods_need_different_names(tmp_path):
    with pytest.raises(ValueError, match="different names"):
        comparison(tmp_path, GOOD, GOOD)


@pytest.mark.usefixtures("_grey_samples")
def test_the_report_is_one_page_with_everything_in_it(tmp_path):
    compared = comparison(tmp_path, budgets=[Budget("steps", 8), Budget("calls", 48)])
    results = compare(compared, CONFIG, MeanColour(), one_by_one)
    page = write_report(compared, results, "A <title>", "GOOD").read_text(encoding="utf-8")
    assert "A &lt;title&gt;" in page
    assert page.count("<svg") == 2
    # two budgets, two prompts: a path and a picture for either method, and a picture of DDIM
    assert page.count("data-path=") == 8
    assert page.count("data:image/png;base64,") >= 2 * 8 + 4
    # nothing is fetched from elsewhere
    assert not [part for part in page.split('src="')[1:] if not part.startswith("data:")]
    assert "python launch.py --config good.yaml --train" in page
    assert "GOOD reaches the best other method" in page
    tables = markdown(results, ["frechet_ddim", "saturation"], "GOOD")
    assert "GOOD reaches the best other method" in tables
    assert "| GOOD | 8 | 32 | **" in tables
    assert "| DDIM | – | – |" in tables
    sheets = write_sheets(compared, results)
    assert [sheet.name for sheet in sheets] == ["sheet-steps-8.png", "sheet-calls-48.png"]
    assert all(Image.open(sheet).size == Image.open(sheets[0]).size for sheet in sheets)


@pytest.mark.usefixtures("_grey_samples")
def test_the_report_works_in_a_browser_on_a_phone(tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium")
    compared = comparison(tmp_path)
    page = write_report(compared, compare(compared, CONFIG, MeanColour(), one_by_one), "Report", "GOOD")
    # a click on an image opens its path; the result is read from the page as the browser leaves it
    click = (
        "<script>document.querySelector('button[data-path]').click();"
        "document.title = [document.querySelector('dialog').open, document.querySelector('dialog img').naturalWidth > 0,"
        "document.documentElement.scrollWidth <= innerWidth].join()</script></html>"
    )
    probe = tmp_path / "probe.html"
    probe.write_text(page.read_text(encoding="utf-8").replace("</html>", click), encoding="utf-8")
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--window-size=500,800",
        "--virtual-time-budget=2000",
    ]
    command = [browser, *options, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", probe.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    opened, _, fits = done.stdout.split("<title>")[1].split("</title>")[0].split(",")
    assert (opened, fits) == ("true", "true")


def test_numbers_have_three_digits():
    assert [number(x) for x in (0.0, 1.0, 0.01234, 123.4, 98765.0, -2.5, None)] == [
        "0", "1.00", "0.0123", "123", "98800", "-2.50", "–",
    ]  # fmt: skip
