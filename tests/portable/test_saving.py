"""What a system writes: pictures with known pixels, videos; never outside its folder."""

import os
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from threestudio.utils.files import atomic_path
from threestudio.utils.images import grayscale_picture
from threestudio.utils.saving import SaverMixin


@pytest.fixture
def saver(tmp_path):
    saver = SaverMixin()
    saver.set_save_dir(str(tmp_path / "save"))
    return saver


def read(path):
    return np.asarray(Image.open(path))


def test_a_folder_must_be_chosen():
    with pytest.raises(ValueError, match="Save dir is not set"):
        SaverMixin().get_save_path("a.png")


def test_folders_are_created_on_the_way(saver):
    path = saver.get_save_path("it10-test/0.png")
    assert path == os.path.join(saver.get_save_dir(), "it10-test/0.png")
    assert os.path.isdir(os.path.dirname(path))


@pytest.mark.parametrize("name", ["../a.png", "/etc/a.png", "it0/../../a.png"])
def test_nothing_is_written_outside(saver, name):
    with pytest.raises(ValueError, match="leads out of the save dir"):
        saver.get_save_path(name)


def test_a_link_does_not_lead_outside_either(saver, tmp_path):
    os.makedirs(saver.get_save_dir())
    os.symlink(tmp_path, os.path.join(saver.get_save_dir(), "link"))
    with pytest.raises(ValueError, match="leads out"):
        saver.get_save_path("link/a.png")


def test_rgb(saver):
    colours = torch.tensor([[[0.0, 0.5, 1.0], [2.0, -1.0, 0.25]]])
    assert read(saver.save_rgb_image("a.png", colours)).tolist() == [[[0, 127, 255], [255, 0, 63]]]
    chw = colours.permute(2, 0, 1) * 2 - 1
    stretched = saver.save_rgb_image("b.png", chw, data_format="CHW", data_range=(-1, 1))
    assert read(stretched)[0, 0].tolist() == [0, 127, 255]


def test_channels_beyond_three_stand_beside(saver):
    img = torch.zeros(2, 2, 4)
    img[..., 3] = 1
    picture = read(saver.save_rgb_image("a.png", img))
    assert picture.shape == (2, 4, 3)
    assert picture[0, 2].tolist() == [255, 0, 0]


def test_grayscale():
    values = np.array([[0.0, 5.0, 10.0]])
    assert grayscale_picture(values)[0].tolist() == [[0] * 3, [127] * 3, [255] * 3]
    assert grayscale_picture(values, data_range=(0, 20))[0, 2].tolist() == [127] * 3
    assert (grayscale_picture(np.ones((2, 2))) == 0).all()
    with pytest.raises(ValueError, match="unknown cmap 'jet'"):
        grayscale_picture(values, cmap="jet")


def test_a_grid_is_a_row_of_pictures(saver):
    white = {"type": "rgb", "img": torch.ones(4, 2, 3), "kwargs": {"data_format": "HWC"}}
    black = {"type": "grayscale", "img": torch.zeros(4, 6), "kwargs": {"cmap": None, "data_range": (0, 1)}}
    grid = read(saver.save_image_grid("grid.png", [white, black]))
    assert grid.shape == (4, 8, 3)
    assert (grid[:, :2] == 255).all()
    assert (grid[:, 2:] == 0).all()
    with pytest.raises(ValueError, match="unknown image type 'depth'"):
        saver.save_image_grid("no.png", [{"type": "depth", "img": torch.zeros(2, 2)}])


def test_a_sequence_is_in_the_order_of_its_numbers(saver):
    levels = {0: 0.0, 2: 0.5, 10: 1.0}
    for index, level in levels.items():
        saver.save_rgb_image(f"it5-test/{index}.png", torch.full((20, 30, 3), level))
    for other in (".tmp-7.png", "notes.json"):
        Path(saver.get_save_path(f"it5-test/{other}")).touch()
    for save_format in ("mp4", "gif"):
        path = saver.save_img_sequence("it5-test", "it5-test", r"(\d+)\.png", save_format=save_format, fps=2)
        assert path.endswith(f"it5-test.{save_format}")
        frames = [np.asarray(frame)[..., :3] for frame in imageio.get_reader(path)]
        assert [frame.shape for frame in frames] == [(20, 30, 3)] * 3
        assert np.allclose([frame.mean() for frame in frames], [0, 127, 255], atol=6)
    with pytest.raises(FileNotFoundError, match="no picture"):
        saver.save_img_sequence("x", "it5-test", r"(\d+)\.jpg")
    with pytest.raises(ValueError, match="webm"):
        saver.save_img_sequence("x", "it5-test", r"(\d+)\.png", save_format="webm")


def test_what_is_no_array_is_refused(saver):
    half = {"x": [torch.ones(2, dtype=torch.bfloat16)], "y": None}
    converted = saver.convert_data(half)
    assert (converted["x"][0].tolist(), converted["y"]) == ([1, 1], None)
    with pytest.raises(TypeError, match="cannot save str"):
        saver.convert_data(["text"])


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(str(path)) as temporary:
        with open(temporary, "w") as file:
            file.write("half a fi")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_wandb_is_off_unless_enabled(saver):
    saver.create_loggers(OmegaConf.create({"wandb": {"enable": False, "project": "p", "name": "n"}}))
    assert saver.get_loggers() == []
