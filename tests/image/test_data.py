"""The data module of the text-to-2D system."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from image.image_stand_ins import image_data
from threestudio_msd.image.data import ImageDataModule, pixel_centres


def test_pixel_centres_run_row_by_row_from_the_top_left():
    centres = pixel_centres(2, 4)
    assert centres[0].tolist() == [0.125, 0.25]
    assert centres[1].tolist() == [0.375, 0.25]
    assert centres[-1].tolist() == [0.875, 0.75]


def test_training_batches_hold_all_particles_without_end():
    data = image_data(3, size=8)
    data.setup("fit")
    for batch in islice(data.train_dataloader(), 3):
        assert batch["index"].tolist() == [0, 1, 2]
        assert batch["coordinates"].shape == (64, 2)
        assert (batch["height"], batch["width"]) == (8, 8)
        for name in ("elevation", "azimuth", "camera_distances"):
            assert torch.equal(batch[name], torch.zeros(3))


def test_groups_of_particles_come_in_turn():
    data = image_data(4, batch_size=2)
    data.setup("fit")
    assert [batch["index"].tolist() for batch in islice(data.train_dataloader(), 3)] == [
        [0, 1],
        [2, 3],
        [0, 1],
    ]


def test_validation_and_test_hold_one_item_of_their_own_size():
    data = image_data(4, size=8, batch_size=2, eval_height=6, eval_width=10)
    data.setup("test")
    for loader in (data.val_dataloader(), data.test_dataloader()):
        (batch,) = loader
        assert batch["index"].tolist() == [0, 1, 2, 3]
        assert batch["coordinates"].shape == (60, 2)


@pytest.mark.parametrize(
    "bad", [{"n_particles": 0}, {"height": 0}, {"n_particles": 4, "batch_size": 3}, {"batch_size": -1}]
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError, match="expected"):
        ImageDataModule(bad)
