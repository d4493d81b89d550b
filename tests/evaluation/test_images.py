"""Images read back from runs and from samples."""

from __future__ import annotations

import pytest
import torch
from evaluation.fakes import launch
from threestudio_msd.evaluation.grid import Cell, Method, calls_per_step
from threestudio_msd.evaluation.images import Run, read_images, read_records, read_runs, slug, write_samples
from threestudio_msd.evaluation.prompts import read_prompts


def test_a_run_is_read_back_with_its_path_and_calls(tmp_path):
    cell = Cell(
        Method("GOOD", "c.yaml", ("calls=3",)), "a red mug", 5, 10, str(tmp_path), particles=4, frames=5
    )
    launch(cell.arguments)
    (run,) = read_runs(tmp_path)
    assert (run.folder, run.prompt, run.seed) == (cell.folder, "a red mug", 5)
    assert [record.particle for record in run.records()] == [0, 1, 2, 3]
    frames = run.frames()
    assert [(frame.step, frame.calls) for frame in frames] == [
        (0, 0),
        (2, 6),
        (4, 12),
        (6, 18),
        (8, 24),
        (10, 30),
    ]
    assert frames[0].images.shape == (4, 8, 8, 3)
    # the last frame, taken apart again, is the result itself
    assert torch.equal(frames[-1].images, read_images(run.records()))
    assert calls_per_step(run) == 3


def test_the_latest_result_counts(tmp_path):
    cell = Cell(Method("GOOD", "c.yaml"), "a red mug", 0, 10, str(tmp_path))
    launch(cell.arguments)
    (cell.folder / "save/it9-test").mkdir()
    assert {record.path.parent.name for record in Run(cell.folder).records()} == {"it10-test"}


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


def test_a_folder_without_images_says_what_was_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match="neither samples"):
        read_records(tmp_path)


def test_prompts_never_become_paths():
    for prompt in ("../../etc/passwd", "/root", "a" * 500, "ä/ö", "a red mug!", "A red mug"):
        assert "/" not in slug(prompt)
        assert len(slug(prompt)) < 80
    assert len({slug(prompt) for prompt in ("a red mug", "A red mug", "a red mug!", "a_red_mug")}) == 4


def test_prompts_from_words_and_files(tmp_path):
    file = tmp_path / "list.txt"
    file.write_text("# comment\na red mug\n\na blue car\n")
    assert read_prompts([str(file), "a cat"]) == ["a red mug", "a blue car", "a cat"]
    for words, message in (([], "none given"), (["a", "a"], "twice: a"), (["missing.txt"], "no such file")):
        with pytest.raises(ValueError, match=message):
            read_prompts(words)
