"""Images read back from runs, samples and loose pictures."""

from __future__ import annotations

import pytest
import torch
from lab.fakes import launch
from msd_lab.compare.methods import Method
from msd_lab.compare.runs import PlannedRun
from msd_lab.measure.images import Run, read_images, read_records, read_runs, slug, write_samples
from PIL import Image
from threestudio_msd.errors import UserError


def launched(folder, steps=10, **settings):
    """A run's folder after the launcher."""
    cell = PlannedRun(Method("GOOD", "c.yaml", ("nfe=3",)), "a red mug", 5, steps, str(folder), **settings)
    launch(cell.arguments)
    return cell.folder


def test_a_run_is_read_back_with_its_path_and_evaluations(tmp_path):
    folder = launched(tmp_path, frames=5)
    (run,) = read_runs(tmp_path)
    assert (run.folder, run.prompt, run.seed) == (folder, "a red mug", 5)
    assert [record.particle for record in run.records()] == [0, 1, 2, 3]
    frames = run.frames()
    assert [(frame.step, frame.nfe) for frame in frames] == [
        (0, 0), (2, 6), (4, 12), (6, 18), (8, 24), (10, 30),
    ]  # fmt: skip
    assert frames[0].images().shape == (4, 8, 8, 3)
    # the last frame, taken apart again, is the result itself
    assert torch.equal(frames[-1].images(), read_images(run.records()))
    assert (run.nfe, run.steps) == (30, 10)


@pytest.mark.parametrize("other", [9, 20])
def test_results_of_an_earlier_run_in_the_same_folder_do_not_count(tmp_path, other):
    folder = launched(tmp_path)
    (folder / f"save/it{other}-test").mkdir()
    assert {record.path.parent.name for record in Run(folder).records()} == {"it10-test"}


def test_a_run_that_stopped_early_has_results(tmp_path):
    folder = launched(tmp_path)
    (folder / "save/it10-test").rename(folder / "save/it7-test")
    assert len(Run(folder).records()) == 4


def test_the_log_of_a_later_run_goes_on_from_where_it_begins(tmp_path):
    run = Run(launched(tmp_path))
    column = (run.folder / "csv_logs/version_0/metrics.csv").read_text().splitlines()[0]
    for version, rows in (("version_2", "4,100\n5,200\n"), ("version_10", "5,300\n")):
        (run.folder / "csv_logs" / version).mkdir()
        (run.folder / "csv_logs" / version / "metrics.csv").write_text(f"{column}\n{rows}")
    assert run.nfe_by_step() == {0: 3, 1: 6, 2: 9, 3: 12, 4: 100, 5: 300}


@pytest.mark.parametrize("inside", ["save", "save/it10-test"])
def test_a_part_of_a_run_stands_for_the_run(tmp_path, inside):
    folder = launched(tmp_path)
    assert read_records(folder / inside) == Run(folder).records()


def test_another_prompt_can_be_asked_for(tmp_path):
    assert {record.prompt for record in read_records(launched(tmp_path), "a cat")} == {"a cat"}


def test_samples_are_listed_replaced_and_read_back(tmp_path):
    images = torch.rand(2, 8, 8, 3)
    write_samples(tmp_path, "a red mug", 0, torch.zeros(3, 8, 8, 3))
    write_samples(tmp_path, "a blue car", 0, images)
    write_samples(tmp_path, "a red mug", 0, images)
    records = read_records(tmp_path)
    assert sorted((r.prompt, r.seed, r.particle) for r in records) == [
        ("a blue car", 0, 0), ("a blue car", 0, 1), ("a red mug", 0, 0), ("a red mug", 0, 1),
    ]  # fmt: skip
    assert torch.allclose(read_images(records)[:2], images, atol=0.5 / 255 + 1e-6)


def test_copies_of_runs_in_a_code_snapshot_are_not_read(tmp_path):
    run = launched(tmp_path / "results")
    own = read_records(tmp_path)
    launched(run / "code/results")
    assert read_records(tmp_path) == own


def test_loose_pictures_need_a_prompt(tmp_path):
    (tmp_path / "deep").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "deep/x.png")
    for path in (tmp_path, tmp_path / "deep/x.png"):
        (record,) = read_records(path, "a cat")
        assert (record.prompt, record.path.name) == ("a cat", "x.png")
    with pytest.raises(UserError, match="say what they should show"):
        read_records(tmp_path)


def harmed(folder, file, content):
    (launched(folder) / file).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda folder: folder, "neither samples .* no picture"),
        (lambda folder: folder / "none", "none: no such file or folder"),
        (lambda folder: harmed(folder, "configs/parsed.yaml", b"a: ["), "parsed.yaml: cannot be read"),
        (lambda folder: harmed(folder, "configs/parsed.yaml", b"\xff\xfe\x00"), "parsed.yaml: cannot be"),
        (lambda folder: harmed(folder, "configs/parsed.yaml", b"a: 1"), "not the configuration of a run"),
        (lambda folder: harmed(folder, "configs/parsed.yaml", b""), "not the configuration of a run"),
        (lambda folder: (folder / "samples.json").write_text("{}") and folder, "neither samples"),
        (lambda folder: (folder / "samples.json").write_text("[1]") and folder, "not a list of samples"),
        (lambda folder: (folder / "samples.json").write_text("[") and folder, "not a list of samples"),
        (
            lambda folder: (
                (folder / "samples.json").write_text(
                    '[{"prompt": "a", "seed": 0, "particle": 0, "path": "../../x.png"}]'
                )
                and folder
            ),
            "lists a file outside",
        ),
    ],
)
def test_what_is_no_folder_of_images_is_named(tmp_path, make, told):
    with pytest.raises(UserError, match=told):
        read_records(make(tmp_path))


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "cannot be read as an image"), (b"\x89PNG\r\n", "cannot be read"), (None, "no such file")],
)
def test_a_broken_image_is_named(tmp_path, content, told):
    file = launched(tmp_path) / "save/it10-test/2.png"
    records = read_records(tmp_path)
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(UserError, match=rf"2\.png: .*{told}"):
        read_images(records)


def test_images_of_two_sizes_are_refused(tmp_path):
    Image.new("RGB", (16, 8)).save(launched(tmp_path) / "save/it10-test/2.png")
    with pytest.raises(UserError, match=r"2\.png: images of one size .* 8 x 8 and 16 x 8"):
        read_images(read_records(tmp_path))


def test_a_picture_without_neighbours_is_refused(tmp_path):
    Image.new("RGB", (1, 9)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"a\.png: expected at least 3 x 3 pixels, these are 1 x 9$"):
        read_images(read_records(tmp_path / "a.png", "a red mug"))


@pytest.mark.parametrize("content", ["", "1", "[1]", '[{"step": "x"}]'])
def test_a_garbled_list_of_frames_is_named(tmp_path, content):
    run = Run(launched(tmp_path))
    (run.folder / "save/progress/frames.json").write_text(content)
    with pytest.raises(UserError, match=r"frames\.json: not a list of frames"):
        run.frames()


def test_a_run_without_a_log_is_named(tmp_path):
    run = Run(launched(tmp_path))
    (run.folder / "csv_logs/version_0/metrics.csv").unlink()
    with pytest.raises(UserError, match="csv_logs: no column"):
        _ = run.nfe


def test_prompts_never_become_paths():
    for prompt in ("../../etc/passwd", "/root", "a" * 500, "ä/ö", "a red mug!", "A red mug"):
        assert "/" not in slug(prompt)
        assert len(slug(prompt)) < 80
    assert len({slug(prompt) for prompt in ("a red mug", "A red mug", "a red mug!", "a_red_mug")}) == 4
