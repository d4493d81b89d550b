"""Text in pictures: any characters, any length."""

import warnings

import pytest
from threestudio_msd.style import (
    METHODS,
    OTHERS,
    as_svg,
    colour_of,
    families_for,
    fitted,
    new_figure,
    write_text,
)


def test_a_short_text_stays_and_a_long_one_is_broken_and_cut():
    assert fitted("a red\nmug", 3.0, 15) == ("a red mug", 15)
    text, size = fitted("a red mug " * 40, 3.0, 15)
    assert size < 15
    assert len(text.splitlines()) == 3
    assert text.endswith("…")


def test_letters_that_fill_a_square_need_twice_the_room():
    narrow, _ = fitted("a" * 100, 3.0, 15)
    wide, _ = fitted("車" * 100, 3.0, 15)
    assert len(wide.splitlines()[0]) <= len(narrow.splitlines()[0]) / 2


def test_characters_that_no_font_has_are_told():
    assert families_for("a red mug") == ["DejaVu Sans"]
    with pytest.warns(UserWarning, match="no installed font has \U0010fffd"):
        families_for("a \U0010fffd mug")


@pytest.mark.parametrize("text", ["$", "a $1 mug for $2", r"$\frac{", "a_{b}^c"])
def test_dollars_are_no_mathematics(tmp_path, text):
    figure = new_figure(3, 1)
    write_text(figure, 0.1, 0.5, text)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(tmp_path / "text.png")


def test_every_method_has_a_colour_of_its_own():
    assert len(set(METHODS.values())) == len(METHODS)


def test_a_figure_needs_no_backend():
    figure = new_figure(3, 2)
    assert figure.get_size_inches().tolist() == [3, 2]
    assert figure.canvas.manager is None


def test_a_row_has_its_methods_colour_or_one_of_its_place():
    assert colour_of("SDS", 3) == METHODS["SDS"]
    assert colour_of("mine", 1) == colour_of("mine", 1 + len(OTHERS)) == OTHERS[1]


def test_a_figure_is_an_svg_element_without_ground():
    svg = as_svg(new_figure(1, 1))
    assert svg.startswith("<svg") and "white" not in svg and "#ffffff" not in svg
