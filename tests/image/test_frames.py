"""Frames of a run: grids there and back, their list, and the picture of the path."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from threestudio_msd.image.frames import (
    Frame,
    FrameList,
    draw_path,
    enlarged,
    grid_columns,
    read_tiles,
    spread,
    tile,
    untile,
)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13])
def test_a_grid_taken_apart_gives_its_pictures(count, tmp_path):
    images = torch.rand(count, 4, 6, 3, generator=torch.Generator().manual_seed(0))
    pixels = (tile(images) * 255).round().byte().numpy()
    assert pixels.shape[1] == grid_columns(count) * 6
    assert (untile(pixels, count) == (images * 255).round().byte().numpy()).all()
    Image.fromarray(pixels).save(tmp_path / "0.png")
    assert (read_tiles(str(tmp_path / "0.png"), count) == untile(pixels, count)).all()


def test_small_pictures_are_enlarged_by_whole_pixels():
    images = torch.rand(2, 4, 4, 3)
    large = enlarged(images, 12)
    assert large.shape == (2, 12, 12, 3)
    assert torch.equal(large[:, ::3, ::3], images)
    assert torch.equal(enlarged(images, 1), images)


def test_a_frame_replaces_those_that_a_resumed_run_passes_again(tmp_path):
    frames = FrameList(str(tmp_path / "frames.json"))
    assert frames.read() == []
    for step in (0, 2, 4):
        frames.add(Frame(step, 8.0 - step))
    frames.add(Frame(2, 1.0))
    assert FrameList(str(tmp_path / "frames.json")).read() == [Frame(0, 8.0), Frame(2, 1.0)]


def test_frames_are_spread_from_the_first_to_the_last():
    frames = [Frame(step) for step in range(11)]
    assert [frame.step for frame in spread(frames, 3)] == [0, 5, 10]
    assert spread(frames[:2], 3) == frames[:2]


@pytest.mark.parametrize(
    "title", ["a red mug", "costs $5 and $x^$", "a very long prompt " * 20, "ein Becher: 50%"]
)
def test_the_path_is_drawn_whatever_the_prompt(tmp_path, title):
    tiles = [np.zeros((2, 8, 8, 3), np.uint8), np.full((2, 8, 8, 3), 255, np.uint8)]
    draw_path(str(tmp_path / "path.png"), [Frame(0, 8.0), Frame(4)], tiles, title)
    assert Image.open(tmp_path / "path.png").width > 150
