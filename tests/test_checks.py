"""Checks of several blocks of an experiment, and of the memory that they need."""

from __future__ import annotations

import logging
import shutil
from types import SimpleNamespace

import pytest
from threestudio_msd import checks
from threestudio_msd.assets_path import TINY_PRIOR, asset
from threestudio_msd.checks import (
    image_memory,
    require_every_particle,
    require_losses,
    require_memory,
    require_modules,
    warn_of_unknown_prompt,
)
from threestudio_msd.errors import UserError
from threestudio_msd.scene.system import SceneMixin


class Guidance:
    @classmethod
    def losses(cls):
        return ("vsd", "lora")


def test_weights_of_the_guidances_losses_and_of_the_systems_pass():
    require_losses({"lambda_vsd": 1, "lambda_lora": 1}, Guidance)
    require_losses({"lambda_vsd": 1, "lambda_lora": 1, "lambda_tv": 1}, Guidance, ("tv", "sparsity"))


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        (
            {"lambda_vsd": 1},
            r"^system\.loss\.lambda_lora: no value is given, .*; append system",
        ),
        (
            {"lambda_vsd": 1, "lambda_lora": 1, "lambda_loar": 1},
            r"^system\.loss\.lambda_loar: no loss has this weight; did you mean 'lambda_lora'\?$",
        ),
        (
            {"lambda_vsd": 1, "lambda_lora": 1, "x": 1},
            r"^system\.loss\.x: no loss .*; known: lambda_vsd, lambda_lora, lambda_tv$",
        ),
    ],
)
def test_one_that_stands_alone_is_told(weights, told):
    with pytest.raises(UserError, match=told):
        require_losses(weights, Guidance, ("tv",))


def test_of_a_guidance_that_does_not_tell_nothing_is_asked():
    require_losses({"lambda_anything": 1}, object)


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
    require_modules(["geometry.encoding", "guidance"], ("geometry", "guidance"))
    with pytest.raises(
        UserError, match=r"^system\.optimizer\.params\.geometri: .*; did you mean 'geometry'\?$"
    ):
        require_modules(["geometri"], ("geometry", "guidance"))


def test_memory_grows_with_what_is_kept_for_the_gradient():
    data = {"n_particles": 2, "height": 100, "width": 100, "eval_height": 1, "eval_width": 1}
    one, two = (image_memory(data, at_once, 10, 0) for at_once in (1, 2))
    assert (one, two) == (4 * 100 * 100 * 10, 2 * 4 * 100 * 100 * 10)
    assert image_memory(data, 1, 10, 5) - one == 4 * 4 * 2 * 5
    assert image_memory({**data, "eval_height": 1000, "eval_width": 1000}, 1, 10, 0) == 4 * 10**6 * (5 + 6)


def test_sizes_that_cannot_fit_say_how_much_they_need(monkeypatch):
    monkeypatch.setattr(checks, "device_memory", lambda: 8 * 10**9)
    require_memory(8 * 10**9, "data.n_particles, data.height")
    with pytest.raises(
        UserError, match=r"^data\.n_particles, data\.height: these sizes need 9 GB, and 8 GB are there$"
    ):
        require_memory(9 * 10**9, "data.n_particles, data.height")


@pytest.fixture
def tiny_prior(tmp_path):
    """A folder of the tiny prior's name that holds its words alone."""
    folder = tmp_path / TINY_PRIOR
    folder.mkdir()
    shutil.copy(asset(f"{TINY_PRIOR}") + "/vocabulary.json", folder)
    return str(folder)


def warn_in_2d(prompt_processor):
    warn_of_unknown_prompt(prompt_processor)


def warn_in_3d(prompt_processor):
    system = type("Scene", (SceneMixin, type("Host", (), {"configure": lambda self: None})), {})()
    system.cfg = SimpleNamespace(prompt_processor=prompt_processor)
    system.configure()


@pytest.mark.parametrize("warn", [warn_in_2d, warn_in_3d])
def test_a_prompt_that_the_tiny_prior_cannot_know_is_warned_of(warn, tiny_prior, monkeypatch, caplog):
    monkeypatch.setattr(logging.getLogger("pytorch_lightning"), "propagate", True)
    for prompt, model, warned in (
        ("a red mug", tiny_prior, False),
        ("a flying pig", "some/model", False),
        ("a flying pig", tiny_prior, True),
    ):
        warn({"prompt": prompt, "pretrained_model_name_or_path": model})
        assert ("airplane" in caplog.text) == warned
