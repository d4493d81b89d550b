"""Text in pictures: any characters, any length."""

from __future__ import annotations

import warnings

import pytest
from PIL import Image, ImageDraw
from threestudio_msd.image.text import fit_title, has_glyph, typeface_for

SCRIPT_A = "\U0001d4d0"  # of mathematics: DejaVu Sans lacks it, STIX, which comes with matplotlib, has it


def test_a_short_text_stays_and_a_long_one_is_broken_and_cut():
    text, face = fit_title("a red\nmug", 200, 25)
    assert (text, face.fonts[0].size) == ("a red mug", 25)
    text, face = fit_title("a red mug " * 40, 360, 25)
    assert face.fonts[0].size < 25
    assert len(text.splitlines()) == 3
    assert text.endswith("…")


@pytest.mark.parametrize("letter", ["i", "a", "W", SCRIPT_A])
def test_a_title_fills_its_width_and_no_more(letter):
    text, face = fit_title(letter * 100, 300, 25)
    assert 250 < face.width(text) <= 300


def test_characters_that_no_font_has_are_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(typeface_for("a red mug λ é ж", 20).fonts) == 1
    with pytest.warns(UserWarning, match="no installed font has \U0010fffd"):
        typeface_for("a \U0010fffd mug", 20)


def test_each_character_is_drawn_by_a_font_that_has_it():
    face = typeface_for(f"a {SCRIPT_A} mug", 20)
    usual, other = face.fonts
    assert not has_glyph(usual, SCRIPT_A)
    assert list(face.runs(f"a {SCRIPT_A} mug")) == [(usual, "a "), (other, SCRIPT_A), (usual, " mug")]


@pytest.mark.parametrize("text", ["$", "a $1 mug for $2", r"$\frac{", "a_{b}^c"])
def test_dollars_are_drawn_as_they_are(text):
    page = Image.new("RGB", (300, 40), "white")
    face = typeface_for(text, 20)
    face.draw(ImageDraw.Draw(page), (0, 20), text, "black")
    expected = Image.new("RGB", (300, 40), "white")
    ImageDraw.Draw(expected).text((0, 20), text, "black", face.fonts[0], anchor="lm")
    assert page.tobytes() == expected.tobytes() != Image.new("RGB", (300, 40), "white").tobytes()
