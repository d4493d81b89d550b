"""What the blocks of a text-to-2D experiment must agree on, and the memory that they need."""

from __future__ import annotations

import pytest
import torch
from threestudio_msd.errors import UserError
from threestudio_msd.image import experiment
from threestudio_msd.image.experiment import (
    memory_needed,
    require_every_particle,
    require_memory,
    require_modules,
)


def test_every_step_reaches_every_particle_once():
    require_every_particle(4, 4, None, 1)
    require_every_particle(4, 4, 2, 2)
    with pytest.raises(
        UserError, match=r"^system\.geometry\.n_particles: expected data\.n_particles, 3, got 4"
    ):
        require_every_particle(3, 4, None, 1)
    with pytest.raises(UserError, match=r"^trainer\.accumulate_grad_batches: expected 2, .* got 1$"):
        require_every_particle(4, 4, 2, 1)


def test_what_an_optimiser_trains_is_there():
    with_parameters, without = torch.nn.Module, object
    require_modules(["geometry.encoding", "guidance"], with_parameters)
    require_modules(["geometry", "guidance"], without)  # a group that an overridden guidance left behind
    with pytest.raises(
        UserError, match=r"^system\.optimizer\.params\.geometri: .*; did you mean 'geometry'\?$"
    ):
        require_modules(["geometri"], without)


def test_memory_grows_with_what_is_kept_for_the_gradient():
    data = {"n_particles": 2, "height": 100, "width": 100, "eval_height": 1, "eval_width": 1}
    one, two = (memory_needed(data, at_once, 10, 0) for at_once in (1, 2))
    assert (one, two) == (4 * 100 * 100 * 10, 2 * 4 * 100 * 100 * 10)
    assert memory_needed(data, 1, 10, 5) - one == 4 * 4 * 2 * 5
    assert memory_needed({**data, "eval_height": 1000, "eval_width": 1000}, 1, 10, 0) == 4 * 10**6 * (5 + 6)


def test_sizes_that_cannot_fit_say_how_much_they_need(monkeypatch):
    monkeypatch.setattr(experiment, "device_memory", lambda: 8 * 10**9)
    require_memory(8 * 10**9)
    with pytest.raises(
        UserError, match=r"^data\.n_particles, .*: these sizes need 9 GB, and 8 GB are there$"
    ):
        require_memory(9 * 10**9)
