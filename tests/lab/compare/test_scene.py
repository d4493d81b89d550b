"""Methods compared in 3D: what is run, measured, kept and shown."""

from __future__ import annotations

import json
import math
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from msd_lab.compare import scene as comparison
from msd_lab.compare.engine import compare
from msd_lab.compare.execution import launch
from msd_lab.compare.methods import Method
from msd_lab.compare.runs import DONE
from msd_lab.compare.scene import MEASURED, Measured, SceneComparison, SceneRun, checkpoint_every
from msd_lab.report import scene as report
from msd_lab.report.scene import COLUMNS, markdown, notes, paired, write_report
from PIL import Image
from threestudio_msd.errors import UserError
from threestudio_msd.files import save_text

from launcher.config import read

CONFIGS = Path(__file__).parents[3] / "configs"


def method(label="MSD", *overrides):
    return Method(label, str(CONFIGS / f"{label.lower()}-nerf-tiny.yaml"), overrides)


def scenes(*methods, **settings):
    settings = {"prompts": ["a red mug"], "seeds": 1, "out": Path("root"), "read": read} | settings
    return SceneComparison(methods=methods or (method(),), **settings)


def test_steps_are_a_part_of_the_configs_own():
    assert scenes(share=0.5).steps(method()) == 200
    assert scenes(share=0.25).steps(method("SDI")) == 28


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"seeds": 0}, "--seeds"),
        ({"share": 0.0}, "--share"),
        ({"share": math.nan}, "--share"),
        ({"share": math.inf}, "--share"),
    ],
)
def test_what_cannot_be_compared(settings, told):
    with pytest.raises(UserError, match=f"^{told}"):
        scenes(**settings)


def test_the_last_step_has_a_checkpoint_and_few_others_have():
    for steps in (1, 4, 9, 97, 240, 960):
        every = checkpoint_every(steps)
        assert steps % every == 0
        assert steps // every <= 4
    assert checkpoint_every(240) == 60


def test_a_run_says_everything_a_run_needs():
    run = SceneRun(method("MSD", "data.batch_size=2"), "a red mug", 3, 8, "root", 12)
    arguments = run.arguments
    assert {"seed=3", "trainer.max_steps=8", "data.n_test_views=12", "data.batch_size=2"} <= set(arguments)
    assert "system.prompt_processor.prompt=a red mug" in arguments
    assert "checkpoint.every_n_train_steps=2" in arguments


def results_of(rows):
    """Results of runs with these figures, by method, all on one prompt."""
    return {
        label: {
            SceneRun(method(label), "a red mug", seed, 8, "root", 12): Measured(figures)
            for seed, figures in enumerate(own)
        }
        for label, own in rows.items()
    }


def test_tables_have_means_deviations_and_dashes():
    figures = dict.fromkeys(COLUMNS, 1.0)
    rows = {
        "MSD": [figures, {**figures, "iou": 0.5}],
        "SDS": [{**figures, "l1": math.nan}],
        "SDI": [],
    }
    head, _, msd, sds, sdi, *_ = markdown(results_of(rows)).splitlines()
    assert "IoU" in head
    assert "0.750 ± 0.354" in msd
    assert sds.startswith("| SDS | 1 | 1.000 | nan |")
    assert set(sdi.split(" | ")[2:-1]) == {"–"}


def test_figures_that_nobody_has_have_no_column_and_unequal_evaluations_are_told():
    rows = {"MSD": [{"iou": 0.5, "nfe": 100.0}], "SDS": [{"iou": 0.4, "nfe": 120.0}], "T": [{"nfe": 0.0}]}
    assert "second judge" not in "\n".join(markdown(results_of(rows)).splitlines()[:5])
    assert any("not evaluated equally often: MSD 100, SDS 120" in note for note in notes(rows))
    assert notes({"MSD": [{"nfe": 100.0}], "T": [{"nfe": 0.0}]}) == []
    assert "± is" in notes({"MSD": [{"nfe": 100.0}] * 2})[0]


def test_differences_are_taken_prompt_by_prompt_over_the_seeds_means():
    def runs(label, values):
        return {
            SceneRun(method(label), prompt, seed, 8, "root", 12): Measured({"iou": iou, "l1": 1 - iou})
            for prompt, found in values.items()
            for seed, iou in enumerate(found)
        }

    results = {
        "MSD": runs("MSD", {"a red mug": [0.5, 0.7], "a blue cat": [0.2], "a green car": [0.9]}),
        "SDS": runs("SDS", {"a red mug": [0.5], "a blue cat": [0.4, 0.4]}),
        "SDI": {},
    }
    table = paired(results)
    (sds,) = table.rows
    shown = dict(zip(table.head, sds, strict=True))
    assert shown["method"] == "SDS"
    assert shown["IoU ↑"] == "+0.050 ± 0.212 (1 of 2)"
    assert shown["L1 ↓"] == "-0.050 ± 0.212 (1 of 2)"
    assert shown["yaw error, ° ↓"] == "–"
    assert "NFE" not in shown
    assert "Less MSD, prompt by prompt" in markdown(results)
    assert paired({}).rows == paired({"MSD": runs("MSD", {"a red mug": [0.5]})}).rows == []


def fake_run(run):
    """What the launcher leaves of a run, as far as a comparison reads it."""
    save_text(json.dumps({"stamp": {}, "seconds": 12.0, "files": {}}), run.folder / DONE)
    config = {
        "seed": run.seed,
        "system": {"prompt_processor": {"prompt": run.prompt}},
        "data": {"batch_size": 4},
        "trainer": {"max_steps": run.steps},
    }
    save_text(json.dumps(config), run.folder / "configs/parsed.yaml")
    save_text("step,train/nfe\n0,2.0\n29,8.0\n59,32.0\n", run.folder / "csv_logs/version_0/metrics.csv")
    for step in (30, 60, 120):
        save_text("", run.folder / f"ckpts/epoch=0-step={step}.ckpt")
    pictures = run.folder / f"save/it{run.steps}-test"
    pictures.mkdir(parents=True)
    for i in range(run.particles):
        Image.new("RGB", (32, 16), (10 * i, 0, 0)).save(pictures / f"{i}.png")


@pytest.fixture
def runs(monkeypatch):
    """Runs that are not run; returns how often a scene was measured."""
    measured = []

    def grid(runs, execute):
        for run in runs[:-1]:
            if not (run.folder / DONE).is_file():
                fake_run(run)
                run.measure()
        return {runs[-1]: "it failed"}

    def figures(folder):
        measured.append(folder)
        return dict.fromkeys(COLUMNS, 0.5)

    monkeypatch.setattr(comparison, "run_all", grid)
    monkeypatch.setattr(comparison, "run_figures", figures)
    monkeypatch.setattr(SceneRun, "_figures_at", lambda self, name: {"iou": 0.25, "l1": 0.2, "frechet": 9.0})
    return measured


def test_a_comparison_measures_what_ran_once_and_shows_it(tmp_path, runs):
    compared = scenes(method(), method("SDS"), share=0.3, out=tmp_path)
    results, failed = compare(compared, None)
    assert [run.method.label for run in failed] == ["SDS"]
    (one,) = results["MSD"].values()
    assert (one.figures["iou"], one.figures["nfe"], one.figures["seconds"]) == (0.5, 128.0, 12.0)
    assert [(point["step"], point["nfe"], point["seconds"]) for point in one.curve] == [
        (30, 32.0, 3.0),
        (60, 128.0, 6.0),
        (120, 128.0, 12.0),
    ]
    assert [point["iou"] for point in one.curve] == [0.25, 0.25, 0.5]
    assert results["SDS"] == {}
    compare(compared, None)
    assert len(runs) == 1  # a finished run's figures are kept
    (run,) = results["MSD"]
    (run.folder / MEASURED).write_text("{")
    compare(compared, None)
    assert len(runs) == 2

    page = write_report(results, tmp_path).read_text()
    assert "data:video/mp4;base64," in page
    assert "<svg" in page
    assert "| MSD | 1 | 0.500 |" in (tmp_path / "tables.md").read_text()
    codec = iio.immeta(tmp_path / "turntables.mp4", plugin="FFMPEG")
    assert (codec["codec"], codec["pix_fmt"].split("(")[0]) == ("h264", "yuv420p")
    sides = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sides.shape == (80, 40, 3)  # four sides of one prompt by two methods, one of which failed
    assert sides[10::20, 10, 0].tolist() == [0, 60, 120, 180]
    assert sides[10, 30].tolist() == [255] * 3


def test_a_comparison_of_nothing_says_so(tmp_path):
    page = write_report({"MSD": {}}, tmp_path).read_text()
    assert "<video" not in page
    assert report.turntables({}) == []


def test_a_real_run_is_measured_where_it_was_made(tmp_path, random_pipeline, monkeypatch):
    small = (
        *("system.geometry.sizes=[4,8]", "system.renderer.num_samples_per_ray=16", "data.batch_size=2"),
        *("data.height=16", "data.width=16", "data.eval_height=16", "data.eval_width=16"),
        "data.cameras_per_round=4",
        f"system.prompt_processor.pretrained_model_name_or_path={random_pipeline}",
    )
    figures = {"iou": 0.5, "l1": 0.1, "frechet": 3.0}
    monkeypatch.setattr(comparison, "run_figures", lambda folder: figures)
    monkeypatch.setattr(comparison, "scene_figures", lambda scene, prompt, judges: figures)
    run = SceneRun(method("MSD", *small), "a red mug", 0, 4, str(tmp_path), 2)
    launch(run, "launch:main")
    assert run.finished
    one = run.measured()
    assert [point["step"] for point in one.curve] == [1, 2, 3, 4]
    assert one.curve[-1]["nfe"] == one.figures["nfe"] > 0
    weights = torch.load(run.folder / "ckpts" / "epoch=0-step=2.ckpt", weights_only=True)
    assert "optimizer_states" not in weights
