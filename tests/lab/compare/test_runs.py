"""Runs: what they are made from, when they count as finished, and how they are made."""

from __future__ import annotations

import pytest
from lab.fakes import BROKEN, GOOD, LAUNCHER, RESULTS_ONLY, one_by_one
from msd_lab.compare.execution import RunError, executor, launch, run_all
from msd_lab.compare.methods import Method
from msd_lab.compare.runs import PlannedRun
from threestudio_msd.errors import UserError


def test_an_unfinished_or_changed_run_is_run_afresh(tmp_path):
    run = PlannedRun(GOOD, "a red mug", 0, 8, str(tmp_path))
    launch(run, LAUNCHER)
    assert run.finished
    assert not PlannedRun(GOOD, "a red mug", 0, 9, str(tmp_path)).finished
    config = tmp_path / "config.yaml"
    config.write_text("a: 1")
    changing = PlannedRun(Method("CHANGING", str(config)), "a red mug", 0, 8, str(tmp_path))
    launch(changing, LAUNCHER)
    assert changing.finished
    config.write_text("a: 2")
    assert not changing.finished
    (run.folder / "done.json").unlink()
    (run.folder / "left-over").touch()
    assert run_all([run], one_by_one) == {}
    assert run.finished
    assert not (run.folder / "left-over").exists()


def truncate(path):
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize(
    ("file", "harm"),
    [
        ("save/it8-test/0.png", truncate),
        ("save/it8-test/1.png", lambda path: path.unlink()),
        ("save/progress/4.png", lambda path: path.write_text("no picture")),
        ("save/progress/frames.json", lambda path: path.write_text("[]")),
        ("csv_logs/version_0/metrics.csv", lambda path: path.unlink()),
        ("configs/parsed.yaml", truncate),
        ("done.json", lambda path: path.write_text("{}")),
        ("done.json", lambda path: path.write_bytes(b"\xff\x00")),
        ("done.json", lambda path: path.write_text("[1]")),
    ],
)
def test_a_run_that_came_to_harm_is_run_again(tmp_path, file, harm):
    run = PlannedRun(GOOD, "a red mug", 0, 8, str(tmp_path))
    launch(run, LAUNCHER)
    harm(run.folder / file)
    assert not run.finished
    assert run_all([run], one_by_one) == {}
    assert run.finished


def test_a_run_without_its_images_has_failed(tmp_path):
    for config, launcher in (
        ("few=true", "lab.fakes:launch"),
        ("nfe=2", "lab.compare.test_runs:launch_nothing"),
    ):
        run = PlannedRun(Method("GOOD", "good.yaml", (config,)), "a red mug", 0, 8, str(tmp_path))
        with pytest.raises(
            (RunError, UserError), match=r"3 images instead of 4|parsed\.yaml: cannot be read"
        ):
            launch(run, launcher)
        assert not run.finished


def launch_nothing(argv):
    """A launcher that says it succeeded."""
    return 0


def images_of(runs):
    return {run.folder.name: (run.folder / f"save/it{run.steps}-test/0.png").read_bytes() for run in runs}


def runs_in(folder):
    return [
        PlannedRun(method, "a red mug", seed, 4, str(folder)) for method in (GOOD, BROKEN) for seed in (0, 1)
    ]


@pytest.mark.parametrize(
    "ray", [None, pytest.param("local", marks=pytest.mark.slow)], ids=["processes", "ray"]
)
def test_many_processes_give_what_one_gives(tmp_path, ray):
    if ray:
        pytest.importorskip("ray")
    failed = run_all(runs_in(tmp_path / "a"), executor(RESULTS_ONLY, 2, ray))
    run_all(runs_in(tmp_path / "b"), one_by_one)
    assert sorted(run.method.label for run in failed) == ["BROKEN", "BROKEN"]
    assert images_of(runs_in(tmp_path / "a")[:2]) == images_of(runs_in(tmp_path / "b")[:2])
