"""Colours of methods and figures without a screen."""

from msd_lab.style import METHODS, OTHERS, as_svg, colour_of, new_figure


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
