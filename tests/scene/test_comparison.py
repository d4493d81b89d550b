"""Methods compared in 3D."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from PIL import Image
from threestudio_msd.errors import UserError
from threestudio_msd.evaluation.grid import DONE, Method
from threestudio_msd.files import save_text
from threestudio_msd.scene import comparison
from threestudio_msd.scene.comparison import COLUMNS, SceneCell, compare_scenes, markdown, steps_of

CONFIGS = Path(__file__).parents[2] / "configs"


def method(label="MSD", *overrides):
    return Method(label, str(CONFIGS / f"{label.lower()}-nerf-tiny.yaml"), overrides)


def test_steps_are_a_part_of_the_configs_own():
    assert steps_of(method(), 0.5) == 120
    assert steps_of(method("SDS"), 0.5) == 480
    with pytest.raises(UserError, match="--share"):
        steps_of(method(), 0.0)


def test_a_cell_says_everything_a_run_needs():
    cell = SceneCell(method("MSD", "data.batch_size=2"), "a red mug", 3, 7, "root", 12)
    arguments = cell.arguments
    assert {"seed=3", "trainer.max_steps=7", "data.n_test_views=12", "data.batch_size=2"} <= set(arguments)
    assert "system.prompt_processor.prompt=a red mug" in arguments


def test_tables_have_means_deviations_and_dashes():
    figures = dict.fromkeys(COLUMNS, 1.0)
    results = {
        "MSD": {"a": figures, "b": {**figures, "iou": 0.5}},
        "SDS": {"a": {**figures, "l1": math.nan}},
        "SDI": {},
    }
    head, _, msd, sds, sdi = markdown(results).splitlines()
    assert "IoU" in head
    assert "0.750 ± 0.354" in msd
    assert sds.startswith("| SDS | 1 | 1.000 | nan |")
    assert set(sdi.split(" | ")[2:-1]) == {"–"}


def finished_run(cell):
    """What the launcher leaves of a run, as far as a comparison reads it."""
    save_text(json.dumps({"seconds": 12.0}), cell.folder / DONE)
    config = {
        "seed": cell.seed,
        "system": {"prompt_processor": {"prompt": cell.prompt}},
        "data": {"batch_size": 4},
        "trainer": {"max_steps": cell.steps},
    }
    save_text(json.dumps(config), cell.folder / "configs/parsed.yaml")
    save_text("step,train/nfe\n0,2.0\n1,32.0\n", cell.folder / "csv_logs/version_0/metrics.csv")
    pictures = cell.folder / f"save/it{cell.steps}-test"
    pictures.mkdir(parents=True)
    for i in range(cell.particles):
        Image.new("RGB", (32, 16), (10 * i, 0, 0)).save(pictures / f"{i}.png")


def test_a_comparison_measures_what_ran_and_says_what_did_not(tmp_path, monkeypatch):
    def grid(cells, execute):
        for cell in cells[:-1]:
            finished_run(cell)
        return {cells[-1]: "it failed"}

    monkeypatch.setattr(comparison, "run_grid", grid)
    monkeypatch.setattr(comparison, "run_figures", lambda folder: dict.fromkeys(COLUMNS, 0.5))
    results = compare_scenes([method(), method("SDS")], ["a red mug"], 1, 0.5, tmp_path, None)
    (figures,) = results["MSD"].values()
    assert (figures["iou"], figures["nfe"], figures["seconds"]) == (0.5, 128.0, 12.0)
    assert results["SDS"] == {}
    assert json.loads((tmp_path / "results.json").read_text()) == results
    assert "| MSD | 1 | 0.500 |" in (tmp_path / "tables.md").read_text()
    sides = Image.open(tmp_path / "sheet.png")
    assert sides.size == (64, 16)
    assert [sides.getpixel((x, 0))[0] for x in (0, 16, 32, 48)] == [0, 60, 120, 180]
