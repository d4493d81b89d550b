"""Cells: what they run, when they count as finished, and the words that name methods."""

from __future__ import annotations

import pytest
from lab.fakes import BROKEN, GOOD, LAUNCHER, RESULTS_ONLY, one_by_one
from msd_lab.compare.grid import Cell, CellError, Method, executor, run_cell, run_grid
from threestudio_msd.errors import UserError


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


def test_a_method_is_read_from_its_word(tmp_path):
    config = tmp_path / "a, b=c.yaml"
    config.touch()
    method = Method("SDS 3", str(config), ("system.guidance.guidance_scale=3", "data.x=[1,2]"))
    assert Method.parse(method.word) == method


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
def test_a_cell_that_came_to_harm_is_run_again(tmp_path, file, harm):
    cell = Cell(GOOD, "a red mug", 0, 8, str(tmp_path))
    run_cell(cell, LAUNCHER)
    harm(cell.folder / file)
    assert not cell.finished
    assert run_grid([cell], one_by_one) == {}
    assert cell.finished


def test_a_run_without_its_images_has_failed(tmp_path):
    for config, launcher in (
        ("few=true", "lab.fakes:launch"),
        ("nfe=2", "lab.compare.test_grid:launch_nothing"),
    ):
        cell = Cell(Method("GOOD", "good.yaml", (config,)), "a red mug", 0, 8, str(tmp_path))
        with pytest.raises(
            (CellError, UserError), match=r"3 images instead of 4|parsed\.yaml: cannot be read"
        ):
            run_cell(cell, launcher)
        assert not cell.finished


def launch_nothing(argv):
    """A launcher that says it succeeded."""
    return 0


def images_of(cells):
    return {
        cell.folder.name: (cell.folder / f"save/it{cell.steps}-test/0.png").read_bytes() for cell in cells
    }


def cells_in(folder):
    return [Cell(method, "a red mug", seed, 4, str(folder)) for method in (GOOD, BROKEN) for seed in (0, 1)]


@pytest.mark.parametrize(
    "ray", [None, pytest.param("local", marks=pytest.mark.slow)], ids=["processes", "ray"]
)
def test_many_processes_give_what_one_gives(tmp_path, ray):
    if ray:
        pytest.importorskip("ray")
    failed = run_grid(cells_in(tmp_path / "a"), executor(RESULTS_ONLY, 2, ray))
    run_grid(cells_in(tmp_path / "b"), one_by_one)
    assert sorted(cell.method.label for cell in failed) == ["BROKEN", "BROKEN"]
    assert images_of(cells_in(tmp_path / "a")[:2]) == images_of(cells_in(tmp_path / "b")[:2])


def test_no_processes_are_refused():
    with pytest.raises(UserError, match="--jobs: expected 1 or more"):
        executor(LAUNCHER, 0)


@pytest.mark.parametrize("label", ["../../x", "..", "a/b", "", ".hidden", "a\nb", "DDIM", "x" * 99, "c:\\x"])
def test_labels_that_are_no_names_of_folders_are_refused(label):
    with pytest.raises(UserError, match="cannot be a label"):
        Method(label, "config.yaml")


@pytest.mark.parametrize(
    ("override", "told"), [("name=x", "name is the comparison's to set"), ("x", "'x' is no key=value")]
)
def test_settings_of_the_grid_are_its_own(override, told):
    with pytest.raises(UserError, match=told):
        Method("A", "config.yaml", (override,))


@pytest.mark.parametrize(
    ("name", "word", "label", "overrides"),
    [
        ("msd-tiny.yaml", "{}", "MSD", ()),
        ("msd-tiny.yaml", "0.3 to 5={}", "0.3 to 5", ()),
        ("msd-tiny.yaml", "{},a.b=[1,2],c=x", "MSD", ("a.b=[1,2]", "c=x")),
        ("a b,c=d.yaml", "{}", "A B,C=D", ()),
        ("a b,c=d.yaml", "X={},e=f", "X", ("e=f",)),
    ],
)
def test_methods_are_read_from_words_whatever_their_paths(
    tmp_path, monkeypatch, name, word, label, overrides
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).touch()
    assert Method.parse(word.format(name)) == Method(label, str(tmp_path / name), overrides)


def test_a_missing_config_is_named():
    with pytest.raises(UserError, match=r"--configs: no such file: none\.yaml"):
        Method.parse("A=none.yaml,b=c")
