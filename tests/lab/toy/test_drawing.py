import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from msd_lab.toy import drawing


def titles(figure):
    return [axes.get_title() for axes in figure.axes]


def pixels(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def test_a_panel_says_how_many_points_it_does_not_show(density):
    points = torch.tensor([[0.0, 0.0], [50.0, 0.0], [0.1, 0.0], [0.0, -50.0]])
    assert titles(drawing.gallery([(density, [("SDS", points)])])) == ["SDS (50% outside)"]


def test_a_point_is_seen_where_it_lies(density):
    figures = [drawing.gallery([(density, [("", torch.tensor([[x, 0.0]]))])], 3.0) for x in (-0.5, 0.5)]
    left, right = (pixels(figure).astype(int) for figure in figures)
    columns = np.abs(left - right).sum((0, 2)).nonzero()[0]
    expected = figures[0].axes[0].transData.transform([(-0.5, 0.0), (0.5, 0.0)])[:, 0]
    assert (columns.min(), columns.max()) == pytest.approx(expected, abs=3)


def test_landscapes_name_what_no_loss_explains(density):
    loss = density.grid(8).square().sum(1).reshape(8, 8)
    figure = drawing.landscapes(density, [("true", loss, None), ("SDS", loss, 0.125)], torch.zeros(1, 2))
    assert titles(figure) == ["true", "SDS\nno loss explains 12.5% of the field"]


def test_nothing_of_matplotlibs_own_settings_is_changed():
    import matplotlib

    assert matplotlib.rcParams["font.size"] == matplotlib.rcParamsDefault["font.size"]
