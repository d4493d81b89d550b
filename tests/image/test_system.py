"""The text-to-2D system, trained by Lightning on guidances whose optimum is known."""

from __future__ import annotations

import csv
import json
import logging

import numpy as np
import pytest
import threestudio
import torch
from image.image_stand_ins import image_data, image_system, target, trainer
from PIL import Image
from threestudio_msd.assets_path import TINY_PRIOR, asset
from threestudio_msd.distillation import NonFiniteError
from threestudio_msd.errors import UserError


def rows(folder):
    with open(next(folder.glob("csv_logs/*/metrics.csv")), encoding="utf-8") as file:
        return list(csv.DictReader(file))


def renders(system, particles=2, size=16):
    batch = image_data(particles, size)
    batch.setup()
    return system.render_all(next(iter(batch.train_dataset)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of three particles, tested; the system and its folder."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trained")
    system = image_system(folder, particles=3, progress_every=20)
    run = trainer(folder, 150, val_check_interval=50)
    run.fit(system, datamodule=image_data(3))
    run.test(system, datamodule=image_data(3, eval_height=32, eval_width=24), verbose=False)
    return system, folder


def test_training_fits_every_particle_to_its_own_target_and_writes_everything(trained):
    system, folder = trained
    error = (renders(system, 3) - target(torch.arange(3), 16, 16)).square().mean((1, 2, 3)).sqrt()
    assert (error < 0.05).all(), error
    save = folder / "save"
    assert {path.name for path in save.glob("*.png")} == {
        "it50-val.png",
        "it100-val.png",
        "it150-val.png",
        "path.png",
    }
    assert sorted(path.name for path in (save / "it150-test").iterdir()) == ["0.png", "1.png", "2.png"]
    assert Image.open(save / "it150-test" / "0.png").size == (24, 32)
    assert (save / "it150-test.mp4").stat().st_size > 1000
    frames = json.loads((save / "progress" / "frames.json").read_text())
    assert [frame["step"] for frame in frames] == [0, 20, 40, 60, 80, 100, 120, 140, 150]
    assert frames[1]["bandwidth"] == pytest.approx(6 / 21)
    written = rows(folder)
    assert float(written[149]["train/nfe"]) == 150
    assert float(written[149]["train/loss_pull"]) < 0.02 * float(written[0]["train/loss_pull"])
    assert "train/images" not in written[0]


def test_path_png_shows_the_start_and_the_result(trained):
    picture = np.asarray(Image.open(trained[1] / "save" / "path.png").convert("RGB")).astype(int)
    height, width, _ = picture.shape
    assert width > 7 * 100
    assert height > 3 * 100
    # the start is grey, and no grey is left in the result
    grey = (np.abs(picture - 127).max(-1) < 25).mean(0)
    assert grey[: width // 7].max() > 0.4
    assert grey[-width // 8 :].max() < 0.2


def test_a_last_frame_that_was_lost_is_made_again_by_the_test(tmp_path):
    system = image_system(tmp_path, particles=2, progress_every=2)
    run = trainer(tmp_path, 5)
    run.fit(system, datamodule=image_data(2))
    last, listed = tmp_path / "save/progress/5.png", tmp_path / "save/progress/frames.json"
    before, frames = last.read_bytes(), json.loads(listed.read_text())
    last.unlink()
    listed.write_text(json.dumps(frames[:-1]))
    run.test(system, datamodule=image_data(2), verbose=False)
    assert last.read_bytes() == before
    assert [frame["step"] for frame in json.loads(listed.read_text())] == [0, 2, 4, 5]


def test_guidance_gets_the_keys_it_wants(tmp_path):
    system = image_system(tmp_path)
    trainer(tmp_path, 1).fit(system, datamodule=image_data())
    (batch,) = system.guidance.seen
    assert batch["index"].tolist() == [0, 1]
    for name in ("elevation", "azimuth", "camera_distances"):
        assert batch[name].tolist() == [0, 0]


def test_a_particle_s_path_does_not_depend_on_the_others(tmp_path):
    results = {}
    for particles, optimizer in ((1, "SGD"), (3, "SGD"), (1, "AdamW"), (3, "AdamW")):
        settings = {"name": optimizer, "args": {"lr": 1e-4 if optimizer == "SGD" else 0.01}}
        system = image_system(tmp_path / f"{optimizer}{particles}", particles, optimizer=settings)
        trainer(tmp_path / f"{optimizer}{particles}", 10).fit(system, datamodule=image_data(particles))
        results[optimizer, particles] = renders(system, particles)[0]
    start = renders(image_system(tmp_path))[0]
    for optimizer in ("SGD", "AdamW"):
        assert torch.allclose(results[optimizer, 1], results[optimizer, 3], atol=1e-5)
        assert (results[optimizer, 1] - start).abs().max() > 0.01


def test_groups_of_particles_give_the_same_as_all_at_once(tmp_path):
    together = image_system(tmp_path / "a", 4)
    trainer(tmp_path / "a", 8).fit(together, datamodule=image_data(4))
    in_groups = image_system(tmp_path / "b", 4)
    trainer(tmp_path / "b", 8, accumulate_grad_batches=2).fit(
        in_groups, datamodule=image_data(4, batch_size=2)
    )
    assert [batch["index"].tolist() for batch in in_groups.guidance.seen[:3]] == [[0, 1], [2, 3], [0, 1]]
    assert torch.allclose(renders(together, 4), renders(in_groups, 4), atol=1e-5)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"particles": 3}, r"system\.geometry\.n_particles: expected data\.n_particles, 3, got 2"),
        ({"batch_size": 1}, r"trainer\.accumulate_grad_batches: expected 2"),
    ],
)
def test_particles_that_do_not_add_up_are_refused(tmp_path, data, message):
    with pytest.raises(UserError, match=message):
        trainer(tmp_path, 1).fit(image_system(tmp_path), datamodule=image_data(**data))


def test_resumed_run_equals_unbroken_run(tmp_path):
    changes = {"guidance": {"noise": 0.5}, "progress_every": 2}
    unbroken = image_system(tmp_path / "a", **changes)
    trainer(tmp_path / "a", 20).fit(unbroken, datamodule=image_data())

    trainer(tmp_path / "b", 7, save_every=5).fit(
        image_system(tmp_path / "b", **changes), datamodule=image_data()
    )
    resumed = image_system(tmp_path / "b", **changes)
    run = trainer(tmp_path / "b", 20, save_every=5)
    run.fit(resumed, datamodule=image_data(), ckpt_path=str(tmp_path / "b" / "ckpts" / "last.ckpt"))
    assert len(resumed.guidance.seen) == 15
    assert torch.equal(renders(unbroken), renders(resumed))
    # the frames of before are kept, those passed twice are listed once
    frames = [json.loads((tmp_path / name / "save/progress/frames.json").read_text()) for name in "ab"]
    assert frames[0] == frames[1]


def test_checkpoint_holds_no_frozen_weights_and_loads_as_plain_data(tmp_path):
    trainer(tmp_path, 2, save_every=2).fit(image_system(tmp_path), datamodule=image_data())
    checkpoint = torch.load(tmp_path / "ckpts" / "last.ckpt", weights_only=True)
    assert all(name.startswith("geometry.") for name in checkpoint["state_dict"])
    assert checkpoint["guidance"] == {"calls": 2}


@pytest.mark.parametrize("in_groups", [False, True])
def test_nan_loss_stops_and_leaves_the_last_checkpoint_usable(tmp_path, in_groups):
    system = image_system(tmp_path, guidance={"nan_at": 5})
    settings = {"accumulate_grad_batches": 2} if in_groups else {}
    run = trainer(tmp_path, 20, save_every=2, **settings)
    with pytest.raises(NonFiniteError, match="loss at step 5"):
        run.fit(system, datamodule=image_data(batch_size=1 if in_groups else None))
    weights = torch.load(tmp_path / "ckpts" / "last.ckpt", weights_only=True)
    assert weights["global_step"] == 4
    assert all(torch.isfinite(tensor).all() for tensor in weights["state_dict"].values())


def test_nan_in_the_image_or_in_a_gradient_is_named(tmp_path):
    system = image_system(tmp_path)
    with torch.no_grad():
        system.geometry.output.bias[0] = float("nan")
    with pytest.raises(NonFiniteError, match="rgb at step 0"):
        trainer(tmp_path, 2).fit(system, datamodule=image_data())
    system = image_system(tmp_path)
    system.geometry.output.bias.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(NonFiniteError, match=r"gradient of geometry\.output\.bias at step 0"):
        trainer(tmp_path, 2).fit(system, datamodule=image_data())


def test_stops_when_the_guidance_says_so_and_keeps_that_state(tmp_path):
    system = image_system(tmp_path, guidance={"finished_at": 6})
    run = trainer(tmp_path, 50)
    run.fit(system, datamodule=image_data())
    assert run.global_step == 7
    kept = torch.load(tmp_path / "ckpts" / "last.ckpt", weights_only=True)
    assert kept["global_step"] == 7
    assert torch.equal(kept["state_dict"]["geometry.output.bias"], system.geometry.output.bias)


def test_guidance_with_parameters_is_trained_saved_and_resumed(tmp_path):
    changes = {
        "guidance_type": "test-trainable-guidance",
        "loss": {"lambda_pull": 1.0, "lambda_phi": 1.0},
        "optimizer": {
            "name": "AdamW",
            "args": {},
            "params": {"geometry": {"lr": 0.02}, "guidance": {"lr": 0.05}},
        },
    }
    unbroken = image_system(tmp_path / "a", **changes)
    trainer(tmp_path / "a", 12).fit(unbroken, datamodule=image_data())
    assert (unbroken.guidance.phi > 0.1).all()
    trainer(tmp_path / "b", 6, save_every=6).fit(
        image_system(tmp_path / "b", **changes), datamodule=image_data()
    )
    resumed = image_system(tmp_path / "b", **changes)
    trainer(tmp_path / "b", 12).fit(
        resumed, datamodule=image_data(), ckpt_path=str(tmp_path / "b/ckpts/last.ckpt")
    )
    assert torch.equal(resumed.guidance.phi, unbroken.guidance.phi)


def test_a_loss_without_weight_is_refused_with_the_nearest_key(tmp_path):
    system = image_system(tmp_path, loss={"lambda_pul": 1.0})
    with pytest.raises(UserError, match=r"lambda_pull: no value is given.*'lambda_pul'"):
        trainer(tmp_path, 1).fit(system, datamodule=image_data())


def test_scheduled_weight(tmp_path):
    system = image_system(tmp_path, loss={"lambda_pull": [0, 0.0, 1.0, 4]})
    trainer(tmp_path, 4).fit(system, datamodule=image_data())
    written = rows(tmp_path)
    assert float(written[0]["train/loss"]) == 0
    assert float(written[2]["train/loss"]) == pytest.approx(0.5 * float(written[2]["train/loss_pull"]))


def test_prompt_from_outside_the_tiny_world_gets_a_warning(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(logging.getLogger("pytorch_lightning"), "propagate", True)
    prompt = {"prompt": "a flying pig", "pretrained_model_name_or_path": asset(TINY_PRIOR)}
    image_system(tmp_path, prompt_processor=prompt)
    assert "airplane" in caplog.text


@pytest.mark.parametrize("prompt", ["a $1 mug for $2", r"$\frac{", "a long prompt " * 40])
def test_any_prompt_stands_above_the_path_and_a_missing_ffmpeg_costs_the_video_only(
    tmp_path, prompt, monkeypatch
):
    def absent(*args, **kwargs):
        raise ValueError("Could not find a backend to open it-test.mp4\nBased on the extension, ...")

    monkeypatch.setattr("imageio.v2.mimsave", absent)
    system = image_system(tmp_path, prompt_processor={"prompt": prompt})
    run = trainer(tmp_path, 3)
    run.fit(system, datamodule=image_data())
    run.test(system, datamodule=image_data(), verbose=False)
    assert Image.open(tmp_path / "save/path.png").width > 300
    assert not list(tmp_path.glob("save/*.mp4"))


TRAINABLE = {
    "guidance_type": "test-trainable-guidance",
    "loss": {"lambda_pull": 1.0, "lambda_phi": 1.0},
    "optimizer": {"name": "AdamW", "args": {"lr": 0.02}, "params": {"geometry": {}, "guidance": {}}},
}


class NotLoaded:
    """Registered in the place of a guidance or prompt processor that must not be made."""

    def __init__(self, *_):
        raise AssertionError("loaded")


def test_images_are_tested_and_validated_without_guidance_and_prompt_processor(tmp_path, monkeypatch):
    trained = image_system(tmp_path, **TRAINABLE)
    trainer(tmp_path, 3, save_every=3).fit(trained, datamodule=image_data())
    for name in ("test-trainable-guidance", "test-prompt-processor"):
        monkeypatch.setitem(threestudio.__modules__, name, NotLoaded)
    system, run = image_system(tmp_path, **TRAINABLE), trainer(tmp_path, 3)
    for act in (run.test, run.validate):
        act(system, datamodule=image_data(), ckpt_path=str(tmp_path / "ckpts" / "last.ckpt"), verbose=False)
    assert torch.equal(renders(system), renders(trained))


def test_weights_of_another_run_reach_the_guidance_too(tmp_path):
    trained = image_system(tmp_path, **TRAINABLE)
    trainer(tmp_path, 3, save_every=3).fit(trained, datamodule=image_data())
    weights = str(tmp_path / "ckpts" / "last.ckpt")
    system = image_system(tmp_path, **TRAINABLE, weights=weights)
    system.setup("fit")
    assert torch.equal(system.guidance.phi, trained.guidance.phi)
