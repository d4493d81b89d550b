"""Base classes, scheduled scalars, weights and small helpers."""

import math
from dataclasses import dataclass

import pytest
import torch
from omegaconf import OmegaConf
from threestudio.utils import misc
from threestudio.utils.base import (
    BaseModule,
    BaseObject,
    Updateable,
    update_end_if_possible,
    update_if_possible,
)
from threestudio.utils.config import ConfigError
from threestudio.utils.misc import C, find_last_path, load_module_weights


class Counter(Updateable):
    def __init__(self):
        self.began, self.ended = [], []

    def update_step(self, epoch, global_step, on_load_weights=False):
        self.began.append((epoch, global_step, on_load_weights))

    def update_step_end(self, epoch, global_step):
        self.ended.append((epoch, global_step))


class Holder(Counter):
    def __init__(self):
        super().__init__()
        self.held, self._private = Counter(), Counter()

    @property
    def broken(self):
        raise RuntimeError


def test_steps_reach_everything_held_but_what_is_private():
    holder = Holder()
    holder.do_update_step(1, 20, on_load_weights=True)
    update_end_if_possible(holder, 1, 20)
    update_if_possible("no updateable", 1, 20)
    assert holder.began == holder.held.began == [(1, 20, True)]
    assert holder.ended == holder.held.ended == [(1, 20)]
    assert holder._private.began == []


class Net(BaseModule):
    @dataclass
    class Config(BaseModule.Config):
        width: int = 2

    def configure(self, scale=1.0):
        self.linear = torch.nn.Linear(self.cfg.width, 1)
        self.scale = scale
        self.steps = Counter()


def test_a_module_is_built_from_its_config():
    net = Net({"width": 3}, scale=2.0)
    assert (net.linear.in_features, net.scale, net.device) == (3, 2.0, misc.get_device())
    net.do_update_step(0, 5)
    assert net.steps.began == [(0, 5, False)]
    assert set(net.state_dict()) == {"linear.weight", "linear.bias"}


def test_an_object_refuses_unknown_settings():
    class Thing(BaseObject):
        @dataclass
        class Config(BaseObject.Config):
            size: int = 1

    assert Thing().cfg.size == 1
    with pytest.raises(TypeError, match="sise"):
        Thing({"sise": 2})


@pytest.fixture
def checkpoint(tmp_path):
    weights = {
        "net.linear.weight": torch.ones(1, 2),
        "net.linear.bias": torch.zeros(1),
        "network.w": torch.ones(1),
    }
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": weights, "epoch": 2, "global_step": 70}, path)
    return str(path)


def test_weights_of_one_module(checkpoint):
    weights, epoch, step = load_module_weights(checkpoint, module_name="net")
    assert (sorted(weights), epoch, step) == (["linear.bias", "linear.weight"], 2, 70)
    rest, _, _ = load_module_weights(checkpoint, ignore_modules=["net"])
    assert sorted(rest) == ["network.w"]
    with pytest.raises(ValueError, match="cannot both"):
        load_module_weights(checkpoint, module_name="net", ignore_modules=["net"])


def test_a_module_starts_from_a_checkpoint_and_its_step(checkpoint):
    net = Net({"weights": f"{checkpoint}:net"})
    assert net.linear.weight.tolist() == [[1.0, 1.0]]
    assert net.steps.began == [(2, 70, True)]


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    path = tmp_path / "evil.ckpt"
    torch.save({"state_dict": {}, "epoch": 0, "global_step": 0, "f": Counter()}, path)
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        load_module_weights(str(path))


@pytest.mark.parametrize(
    ("value", "step", "expected"),
    [
        (3, 50, 3),
        (0.5, 50, 0.5),
        ([1.0, 0.0, 100], 25, 0.75),
        ([1.0, 0.0, 100], 500, 0.0),
        ([100, 1.0, 0.0, 200], 0, 1.0),
        ([100, 1.0, 0.0, 200], 150, 0.5),
        ([0, 0.0, 1.0, 10, 5.0, 20], 10, 1.0),
        ([0, 0.0, 1.0, 10, 5.0, 20], 15, 3.0),
        ([0, 0.0, 1.0, 10, 5.0, 20, 0.0, 25], 22, 3.0),
        ([5, 0.0, 1.0, 5], 4, 0.0),
        ([5, 0.0, 1.0, 5], 5, 1.0),
    ],
)
def test_a_scheduled_scalar_by_steps(value, step, expected):
    given = OmegaConf.create(value) if isinstance(value, list) else value
    assert C(given, 0, step) == pytest.approx(expected)


def test_float_steps_are_epochs():
    assert C([0, 0.0, 1.0, 10.0], epoch=5, global_step=1000) == pytest.approx(0.5)
    assert C([0.0, 1.0, 10], epoch=5, global_step=1) == pytest.approx(0.1)


def test_exponential_interpolation():
    assert C([0, 1.0, 0.01, 10], 0, 5, interpolation="exp") == pytest.approx(0.1)
    assert math.isclose(C([0, 4.0, 1.0, 10], 0, 0, interpolation="exp"), 4.0)
    with pytest.raises(ValueError, match="cubic"):
        C([0, 1.0, 2.0, 10], 0, 5, interpolation="cubic")


@pytest.mark.parametrize(
    "value", ["fast", None, [1], [1, 2], [0, 1.0, "x", 10], [0, 1.0, 2.0, 10, 3.0], [9, 1.0, 2.0, 3]]
)
def test_a_malformed_schedule_is_named(value):
    with pytest.raises(ConfigError, match="malformed scheduled scalar"):
        C(value, 0, 0)


def test_last_path(tmp_path):
    for name in ("run@1", "run@3", "run@2", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "last.ckpt").touch()
    assert find_last_path(f"{tmp_path}/run@LAST/last.ckpt") == f"{tmp_path}/run@3/last.ckpt"
    assert find_last_path("plain.ckpt") == "plain.ckpt"
    assert find_last_path(None) is None
    for missing in ("none@LAST/last.ckpt", "run@LAST/first.ckpt"):
        with pytest.raises(FileNotFoundError, match=r"ckpt"):
            find_last_path(f"{tmp_path}/{missing}")


def test_ranks(monkeypatch):
    for key in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"):
        monkeypatch.delenv(key, raising=False)
    assert misc.get_rank() == 0
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert misc.get_rank() == 1


def test_one_process_needs_no_other():
    assert misc.barrier() is None
