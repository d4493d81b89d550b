from threestudio_msd.style import METHODS, new_figure


def test_every_method_has_a_colour_of_its_own():
    assert len(set(METHODS.values())) == len(METHODS)


def test_a_figure_needs_no_backend():
    figure = new_figure(3, 2)
    assert figure.get_size_inches().tolist() == [3, 2]
    assert figure.canvas.manager is None
