"""What the model card's figures count: the right images, and details where they are plain to see."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from msd_lab.tinyworld.world import OBJECTS, VIEWS, Caption, Prediction
from msd_lab.training import measures as figures
from msd_lab.training.data import render_captions
from msd_lab.training.measures import (
    Measures,
    answers,
    measure_details_kept,
    questions,
    round_trip,
    save_sheet,
    sdedit,
    view_accuracy,
    view_captions,
)
from msd_lab.training.prior import load_prior


@pytest.fixture(scope="module")
def pipeline():
    return load_prior()


def test_captions_of_views_are_balanced_and_never_held_out():
    captions = view_captions(7)
    assert set(Counter((c.object, c.view) for c in captions).values()) == {7}
    assert len({(c.object, c.view) for c in captions}) == len(OBJECTS) * len(VIEWS)
    assert not any(caption.held_out for caption in captions)
    assert len({c.colour for c in captions if c.object == "mug"}) == 7


def test_renders_of_captions_show_what_they_say():
    captions = [
        Caption("mug", "red", "front"),
        Caption("cat", "blue", "overhead"),
        Caption("mug", "pink", "front"),
    ]
    images = render_captions(captions, seed=1)
    assert [OBJECTS[i] for i in images.object] == ["mug", "cat", "mug"]
    assert [VIEWS[i] for i in images.view] == ["front", "overhead", "front"]
    body = images.float[:, :, 30:40, 30:40].mean((2, 3))
    assert body[1].argmax() == 2, "a blue cat is blue"
    assert not torch.equal(images.rgb[0], images.rgb[2])


def test_views_are_counted_by_view_and_by_object():
    captions = [Caption("mug", "red", "front"), Caption("mug", "red", "back"), Caption("cat", "red", "back")]
    judge = SimpleNamespace(classify=lambda images: SimpleNamespace(view=["front", "front", "back"]))
    assert view_accuracy(judge, torch.zeros(3, 8, 8, 3), captions) == {
        "views": {"front": 1.0, "back": 0.5},
        "objects": {"mug": 0.5, "cat": 1.0},
    }


def test_details_are_asked_for_where_true_renders_show_or_hide_them(renders):
    asked = questions(renders)
    named = {probe.name: probe for probe in asked}
    assert "front" in named["robot: eyes"].views
    assert "back" in named["robot: no eyes"].views
    assert {"back", "overhead"} <= set(named["house: no door"].views)
    captions = [Caption("robot", "red", view) for view in ("front", "front", "back")]
    judge = SimpleNamespace(details=lambda images, names: torch.tensor([[1, 0], [0, 0], [0, 0]]) > 0)
    found = answers(judge, torch.zeros(3, 8, 8, 3), captions, [named["robot: eyes"], named["robot: no eyes"]])
    assert found == {"robot: eyes": 0.5, "robot: no eyes": 1.0}


def test_inversion_and_back_is_nearer_to_the_image_in_more_steps(pipeline):
    captions = [Caption("mug", "red", "front"), Caption("house", "blue", "front")]
    images = render_captions(captions, seed=4)
    few, many = (round_trip(pipeline, images, captions, steps) for steps in (2, 8))
    assert 5 < few < many


def test_the_sheet_shows_every_object_in_every_colour(tmp_path, pipeline, monkeypatch):
    from PIL import Image

    shown = []

    def drawn(_, prompts, scale, steps, seed):
        shown.extend(prompts)
        return torch.linspace(0, 1, len(prompts))[:, None, None, None].expand(-1, 8, 8, 3)

    monkeypatch.setattr(figures, "sample", drawn)
    save_sheet(pipeline, tmp_path / "sheet.png", 5.0)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (64, 96)
        assert sheet.getpixel((0, 0))[0] == 0
        assert sheet.getpixel((63, 95))[0] == 255
    assert shown[0] == "a red airplane"
    assert shown[-1] == "a black teapot"


def test_renders_come_back_from_noise_the_nearer_the_less_of_it(pipeline):
    captions = [
        Caption("mug", "red", "front"),
        Caption("cat", "blue", "side"),
        Caption("car", "pink", "back"),
    ]
    images = render_captions(captions, seed=4)
    truth = images.float.permute(0, 2, 3, 1)
    back = {t: sdedit(pipeline, images, captions, t, guidance_scale=1.0, steps=10) for t in (100, 300, 1000)}
    errors = [(rgb - truth).square().mean().item() for rgb in back.values()]
    assert errors == sorted(errors)
    assert errors[2] > 4 * errors[0], "from pure noise other images come"


def test_what_is_kept_begins_with_true_renders_and_their_reconstructions(pipeline, monkeypatch):
    monkeypatch.setattr(figures, "all_pairs", lambda: [("mug", "red"), ("cat", "blue")])
    shown = []

    def classify(images):
        shown.append(images)
        return Prediction(["mug", "cat"], ["red", "red"])

    settings = Measures(per_start=1, starts=(500,), sampling_steps=2)
    found = measure_details_kept(pipeline, {"reader": SimpleNamespace(classify=classify)}, settings, seed=0)
    assert [one["reader"]["both"] for one in found.values()] == [0.5] * 4
    truth, through, *_ = shown
    with torch.no_grad():
        z = pipeline.vae.encode(2 * truth.permute(0, 3, 1, 2) - 1).latent_dist.mode()
        decoded = pipeline.vae.decode(z).sample.permute(0, 2, 3, 1)
    assert through.allclose(((decoded + 1) / 2).clamp(0, 1), atol=1e-5)
