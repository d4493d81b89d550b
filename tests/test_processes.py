"""How processes share a run's work; that two make what one makes is in `launcher/test_processes.py`."""

from __future__ import annotations

from itertools import islice

import pytest
import threestudio
import torch
from guidance.stand_ins import PromptUtils, cameras, renders
from image.image_stand_ins import image_data
from threestudio_msd import processes
from threestudio_msd.errors import UserError
from threestudio_msd.guidance import SDSGuidance, base


@pytest.fixture
def second_of_two(monkeypatch):
    """This process stands for the second of two."""
    monkeypatch.setattr(processes, "place", lambda: (1, 2))
    monkeypatch.setattr(base, "place", lambda: (1, 2))


def test_alone_everything_is_ones_own():
    assert processes.place() == (0, 1)
    assert list(range(5))[processes.share(5, "n")] == [0, 1, 2, 3, 4]
    assert processes.averaged({"x": 2.0}, torch.device("cpu")) == {"x": 2.0}
    assert processes.collected({"kept": {3: torch.ones(1)}, "nfe": 2}).keys() == {"kept", "nfe"}


def test_particles_are_shared_always_alike(second_of_two):
    data = image_data(4)
    data.setup("fit")
    assert [batch["index"].tolist() for batch in islice(data.train_dataloader(), 2)] == [[1, 3], [1, 3]]
    grouped = image_data(4, batch_size=2)
    grouped.setup("fit")
    assert [batch["index"].tolist() for batch in islice(grouped.train_dataloader(), 3)] == [[1], [3], [1]]


def test_cameras_are_shared_always_alike(second_of_two):
    sizes = dict.fromkeys(("height", "width", "eval_height", "eval_width"), 8)
    data = threestudio.find("msd-camera-datamodule")({**sizes, "cameras_per_round": 8, "batch_size": 4})
    data.setup()
    seen = list(islice(data.train_dataloader(), 4))
    assert [batch["index"].tolist() for batch in seen] == [[2, 6], [3, 7], [2, 6], [3, 7]]
    assert {len(value) for value in seen[0].values() if isinstance(value, torch.Tensor)} == {2}


def test_what_cannot_be_shared_evenly_is_refused(second_of_two):
    data = image_data(3)
    data.setup("fit")
    with pytest.raises(UserError, match=r"n_particles.*multiple of the 2 processes.*got 3"):
        next(iter(data.train_dataloader()))


def test_random_views_have_other_noise_in_each_process(monkeypatch, random_pipeline):
    def losses(place, rows):
        guidance = SDSGuidance({"pretrained_model_name_or_path": str(random_pipeline)})
        monkeypatch.setattr(base, "place", lambda: place)
        rgb = renders(4).detach()[rows].requires_grad_()
        guidance(rgb, PromptUtils(), **cameras(len(rgb)))["loss_sds"].backward()
        return rgb.grad * len(rgb)

    whole = losses((0, 1), slice(None))
    halves = [losses((0, 2), slice(2)), losses((1, 2), slice(2, 4))]
    torch.testing.assert_close(torch.cat(halves), whole, rtol=1e-3, atol=1e-5)


def test_what_each_process_knows_of_its_own_rows_is_united():
    states = [{0: "a", 2: "c"}, {1: "b"}]
    assert processes.united(states) == {0: "a", 2: "c", 1: "b"}
    assert processes.united([5.0, 5.0]) == 5.0
