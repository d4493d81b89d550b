"""The contact sheet: methods down, prompts across, a gap where a run failed."""

from __future__ import annotations

import numpy as np
from lab.fakes import BROKEN, GOOD, SIZE
from msd_lab.report.sheet import Picture, Sheet, contact_sheet, draw_sheet


def test_it_shows_the_first_image_of_every_method_and_prompt_with_its_path(comparison, measured):
    compared = comparison(seeds=1)
    sheet = contact_sheet(compared, measured(compared).budgets["steps=8"])
    assert sheet.labels == ("GOOD", "BAD", "DDIM")
    assert list(sheet.rows) == list(compared.prompts)
    for prompt, (good, bad, ddim) in sheet.rows.items():
        assert [picture.title for picture in (good, bad, ddim)] == [
            f"{label}: {prompt}" for label in sheet.labels
        ]
        assert good.image.shape == (SIZE, SIZE, 3)
        assert good.path.shape == (SIZE, SIZE * (compared.frames + 1), 3)
        assert np.array_equal(good.path[:, -SIZE:], good.image)
        assert not np.array_equal(good.image, bad.image)
        assert ddim.path is None


def test_a_method_without_any_run_is_left_out(comparison, measured):
    compared = comparison(GOOD, BROKEN, seeds=1)
    assert contact_sheet(compared, measured(compared).budgets["steps=8"]).labels == ("GOOD", "DDIM")


def test_a_failed_run_leaves_its_place_empty():
    picture = Picture("A: a red mug", np.zeros((4, 4, 3), np.uint8))
    figure = draw_sheet(Sheet(("A", "B $x$"), {"a red mug": (picture, None), "an $x$": (picture, picture)}))
    axes = figure.get_axes()
    assert [len(place.images) for place in axes] == [1, 1, 0, 1]
    assert [place.get_title() for place in axes[:2]] == ["red mug", "$x$"]
    assert [axes[0].get_ylabel(), axes[2].get_ylabel()] == ["A", "B $x$"]
    figure.canvas.draw()  # no text is taken for mathematics
