"""Optimisers and schedulers from configs, and what a system tells its parts."""

import pytest
import pytorch_lightning as pl
import threestudio
import torch
from omegaconf import OmegaConf
from threestudio.systems.base import BaseLift3DSystem, BaseSystem
from threestudio.systems.utils import parse_optimizer, parse_scheduler
from threestudio.utils.base import BaseObject, Updateable
from threestudio.utils.config import ConfigError
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.geometry = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
        self.background = nn.Linear(2, 2)
        self.scale = nn.Parameter(torch.ones(1))
        self.note = "no parameters"


def test_all_parameters_by_default():
    optimizer = parse_optimizer(OmegaConf.create({"name": "AdamW", "args": {"lr": 0.01}}), Model())
    assert type(optimizer) is torch.optim.AdamW
    assert [len(group["params"]) for group in optimizer.param_groups] == [7]


def test_groups_have_their_own_settings():
    config = OmegaConf.create(
        {
            "name": "Adam",
            "args": {"lr": 0.01, "betas": [0.9, 0.99]},
            "params": {"geometry.0": {"lr": 0.1}, "background": {}, "scale": {"weight_decay": 0.5}},
        }
    )
    groups = parse_optimizer(config, Model()).param_groups
    assert [(g["name"], g["lr"], g["weight_decay"], len(g["params"])) for g in groups] == [
        ("geometry.0", 0.1, 0, 2),
        ("background", 0.01, 0, 2),
        ("scale", 0.01, 0.5, 1),
    ]
    assert {type(group["betas"]) for group in groups} <= {
        list,
        tuple,
    }  # no config nodes: they end up in checkpoints


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"name": "Adam", "params": {"geometri": {}}},
            "optimizer.params.geometri: the system has no such module",
        ),
        ({"name": "Adam", "params": {"note": {}}}, "optimizer.params.note: a str has no parameters"),
    ],
)
def test_what_is_wrong_with_an_optimizer(config, message):
    with pytest.raises(ConfigError, match=message):
        parse_optimizer(OmegaConf.create(config), Model())


def rates(config, steps):
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    scheduler = parse_scheduler(OmegaConf.create(config), optimizer)["scheduler"]
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


WARM = {"name": "LinearLR", "args": {"start_factor": 0.5, "total_iters": 2}}
DECAY = {"name": "ExponentialLR", "args": {"gamma": 0.5}}


def test_a_plain_scheduler():
    assert rates(DECAY, 3) == [1.0, 0.5, 0.25]


def test_schedulers_one_after_the_other():
    for name in ("SequentialLR", "Sequential"):
        sequence = {"name": name, "interval": "step", "milestones": [2], "schedulers": [WARM, DECAY]}
        assert rates(sequence, 5) == pytest.approx([0.5, 0.75, 1.0, 0.5, 0.25])


def test_schedulers_at_once():
    assert rates({"name": "ChainedScheduler", "schedulers": [WARM, DECAY]}, 3) == pytest.approx(
        [0.5, 0.375, 0.25]
    )


def test_intervals():
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    assert parse_scheduler(OmegaConf.create(DECAY), optimizer)["interval"] == "epoch"
    assert parse_scheduler(OmegaConf.create({**DECAY, "interval": "step"}), optimizer)["interval"] == "step"


class Clock(BaseObject):
    def configure(self, **scene):
        self.scene, self.seen = scene, []

    def update_step(self, epoch, global_step, on_load_weights=False):
        self.seen.append(("start", global_step))

    def update_step_end(self, epoch, global_step):
        self.seen.append(("end", global_step))


class Points(torch.utils.data.Dataset, Updateable):
    def __init__(self):
        self.seen = []

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return {"x": torch.ones(2)}

    def update_step(self, epoch, global_step, on_load_weights=False):
        self.seen.append(global_step)


class System(BaseSystem):
    def configure(self):
        self.net = nn.Linear(2, 1)
        self.clock = Clock()

    def preprocess_data(self, batch, stage):
        batch["stage"] = stage

    def training_step(self, batch, batch_idx):
        assert batch["stage"] == "train"
        return self.net(batch["x"]).sum() * self.C([0, 1.0, 0.0, 2])

    def validation_step(self, batch, batch_idx):
        assert batch["stage"] == "validation"

    def on_validation_epoch_end(self):
        pass


@pytest.fixture
def trainer(tmp_path):
    quiet = {
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "logger": False,
        "accelerator": "cpu",
    }
    return pl.Trainer(
        max_epochs=1, limit_val_batches=1, num_sanity_val_steps=0, default_root_dir=str(tmp_path), **quiet
    )


def test_everything_is_told_about_every_step(trainer):
    system = System({"optimizer": {"name": "SGD", "args": {"lr": 0.1}}, "scheduler": DECAY})
    data = Points()
    loader = torch.utils.data.DataLoader(data)
    trainer.fit(system, loader, torch.utils.data.DataLoader(Points()))
    training = [("start", 0), ("end", 1), ("start", 1), ("end", 2), ("start", 2), ("end", 3)]
    assert system.clock.seen == [*training, ("start", 3), ("end", 3)]  # the last pair is validation
    assert sorted(set(data.seen)) == [0, 1, 2]
    assert not system.resumed


def test_an_evaluated_checkpoint_keeps_its_step():
    system = System({}, resumed=True)
    system.set_resume_status(2, 70)
    assert (system.resumed, system.true_current_epoch, system.true_global_step) == (True, 2, 70)
    assert system.C([0, 0.0, 1.0, 140]) == 0.5


def test_a_system_starts_from_weights(tmp_path):
    first = System({})
    path = str(tmp_path / "first.ckpt")
    torch.save({"state_dict": first.state_dict(), "epoch": 0, "global_step": 9}, path)
    second = System({"weights": path})
    assert torch.equal(second.net.weight, first.net.weight)
    assert second.clock.seen == [("start", 9)]
    third = System({"weights": path, "weights_ignore_modules": ["net"]})
    assert not torch.equal(third.net.weight, first.net.weight)


class Geometry(Clock, nn.Module):
    def __init__(self, cfg, **kwargs):
        nn.Module.__init__(self)
        Clock.__init__(self, cfg)
        self.weight = nn.Parameter(torch.zeros(1))


TYPES = {f"{part}_type": f"test-{part}" for part in ("geometry", "material", "background", "renderer")}


@pytest.fixture
def scene(monkeypatch):
    parts = {name: Geometry if "geometry" in name else Clock for name in TYPES.values()}
    monkeypatch.setattr(threestudio, "__modules__", parts)


def test_a_lifting_system_builds_its_scene(scene):
    system = BaseLift3DSystem({**TYPES})
    assert system.renderer.scene == {
        "geometry": system.geometry,
        "material": system.material,
        "background": system.background,
    }
