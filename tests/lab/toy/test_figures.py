import imageio.v3 as imageio
import pytest
from msd_lab.toy import figures
from msd_lab.toy.problems import Problem


def size(picture):
    return imageio.imread(picture).shape[:2]


def test_figure_1_has_a_row_a_problem(settings):
    ((file, _),) = figures.figure1(settings).pictures
    height, width = size(file)
    assert width / height == pytest.approx(4 * 2.7 / (2 * 2.95), abs=0.01)


def test_points_has_a_picture_a_denoiser(settings, monkeypatch):
    monkeypatch.setattr(figures, "DENSITIES", ("fractal", "8gaussians"))
    monkeypatch.setattr(figures, "MAIN_METHODS", ("DDIM", "VSD", "MSD"))
    monkeypatch.setattr(figures, "LEARNT", ("fractal",))
    (ideal, _), (learned, _) = figures.points(settings).pictures
    assert size(ideal)[0] > size(learned)[0] > 100


def test_paths_are_two_animations(settings):
    ((gif, caption),) = figures.paths(settings).pictures
    mp4 = gif.with_suffix(".mp4")
    assert mp4.name in caption and mp4.stat().st_size > 1000
    frames = imageio.imread(gif)
    assert len(frames) >= settings.scale.steps + 1 and (frames[0] != frames[-1]).any()


def test_the_landscapes_share_of_curl_is_measured(settings, monkeypatch):
    section = figures.landscape(settings)
    assert [m.method for m in section.measurements] == 2 * [
        "SDS",
        "VSD",
        "SDI",
        "MSD, λ = 0.12",
        "MSD, λ = 0.03",
    ]
    assert all(0 <= m.mean <= 1 and m.metric == "curl" for m in section.measurements)
    assert {m.problem for m in section.measurements} == {Problem("fractal"), Problem("fractal", "learned")}
    assert all(file.stat().st_size > 10_000 for file, _ in section.pictures)


def test_bandwidth_is_a_picture(settings):
    ((file, _),) = figures.bandwidth(settings).pictures
    height, width = size(file)
    assert width / height == pytest.approx(5 * 2.9 / 3.9, abs=0.01)
