"""Drop-in keys, and what threestudio's and other extensions' systems ask of a guidance beside a loss."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import pytest
import threestudio
import threestudio_msd  # noqa: F401  (registers)
import torch
from guidance.stand_ins import PromptUtils, cameras, renders
from omegaconf import OmegaConf
from threestudio.utils.base import BaseObject
from threestudio_msd.errors import UserError
from threestudio_msd.guidance.keys import adopt

MSD, SDS, VSD = (threestudio.find(f"msd-{name}guidance") for name in ("", "sds-", "vsd-"))

DREAMFUSION = {  # the guidance block of threestudio's dreamfusion-sd.yaml
    "pretrained_model_name_or_path": "a/b",
    "guidance_scale": 100.0,
    "weighting_strategy": "sds",
    "min_step_percent": 0.02,
    "max_step_percent": 0.98,
}
PROLIFICDREAMER = {  # of prolificdreamer.yaml, and the memory options
    "pretrained_model_name_or_path": "a/b",
    "pretrained_model_name_or_path_lora": "a/c",
    "guidance_scale": 7.5,
    "min_step_percent": 0.02,
    "max_step_percent": [5000, 0.98, 0.5, 5001],
    "half_precision_weights": False,
    "grad_clip": [0, 2.0, 8.0, 1000],
}


@pytest.fixture(scope="module")
def folder(random_pipeline):
    return {"pretrained_model_name_or_path": str(random_pipeline), "trainer_max_steps": 10}


def loss_of(out):
    return [name for name in out if name.startswith("loss_")]


@pytest.mark.parametrize(
    "cls, settings, adopted, left_out",
    [
        (
            MSD,
            DREAMFUSION,
            {"guidance_scale": 100.0},
            ["weighting_strategy", "min_step_percent", "max_step_percent"],
        ),
        (SDS, DREAMFUSION, {"max_step_percent": 0.98}, ["weighting_strategy"]),
        (
            VSD,
            PROLIFICDREAMER,
            {
                "dtype": "float32",
                "max_step_percent": [5000, 0.98, 0.5, 5001],
                "grad_clip": [0, 2.0, 8.0, 1000],
            },
            ["pretrained_model_name_or_path_lora"],
        ),
        (
            SDS,
            {"half_precision_weights": True, "use_img_loss": True},
            {"dtype": "auto", "loss_space": "image"},
            [],
        ),
        (
            MSD,
            {"enable_memory_efficient_attention": True, "enable_attention_slicing": True},
            {"enable_attention_slicing": True},
            ["enable_memory_efficient_attention"],
        ),
        (SDS, {"half_precision_weights": True, "dtype": "bfloat16"}, {"dtype": "bfloat16"}, []),
        (SDS, {"sampler": {"type": "split"}, "lora_rank": 2}, {}, ["sampler", "lora_rank"]),
    ],
)
def test_keys_of_the_guidance_replaced(cls, settings, adopted, left_out):
    found, without = adopt(cls, OmegaConf.create(settings))
    assert without == left_out
    assert {name: found[name] for name in adopted} == adopted
    assert not set(without) & set(found)


def test_anything_else_is_an_error_with_the_nearest_key(folder):
    with pytest.raises(
        UserError, match=r"system\.guidance\.bandwith: unknown key; did you mean 'bandwidth'\?"
    ):
        MSD({**folder, "bandwith": 3})


def test_another_type_drops_the_keys_that_it_does_not_have():
    old = {"type": "split", "steps": 8, "kernel_interval": [0.1, 0.5]}
    found, left_out = adopt(MSD, {"sampler": {**old, "type": "posterior"}})
    assert (found["sampler"], left_out) == ({"type": "posterior", "steps": 8}, ["sampler.kernel_interval"])
    misspelt = {"type": "posterior", "stpes": 8}
    assert adopt(MSD, {"sampler": misspelt})[0]["sampler"] == misspelt


def test_what_is_left_out_is_said_in_one_line(folder, caplog):
    with caplog.at_level(logging.WARNING):
        SDS({**folder, "weighting_strategy": "sds", "var_red": True})
    (line,) = [r.getMessage() for r in caplog.records if "left out" in r.getMessage()]
    assert line == "system.guidance: weighting_strategy, var_red belong to another guidance or type: left out"


@pytest.mark.parametrize(
    ("name", "scale", "advised"),
    [
        ("", 100.0, "7.5"),
        ("vsd-", 20, "7.5"),
        ("sdi-", 100.0, "8.5"),
        ("ism-", [0, 100.0, 7.5, 5000], "7.5"),
        ("", [7.5, 100.0, 5000], "7.5"),
        ("", 19.9, None),
        ("", [50, 7.5, 5.0, 5000], None),
        ("", None, None),
        ("sds-", 100.0, None),
        ("csd-", 100.0, None),
    ],
)
def test_a_scale_of_sds_is_answered_with_the_methods_own(name, scale, advised):
    said = list(threestudio.find(f"msd-{name}guidance").scale_advice({"guidance_scale": scale}))
    assert len(said) == (advised is not None)
    assert not said or said[0].endswith(f"set by system.guidance.guidance_scale={advised}")


def test_a_switched_guidance_type_warns_of_the_scale(folder, caplog):
    with caplog.at_level(logging.WARNING):
        MSD({**folder, "guidance_scale": 100.0, "weighting_strategy": "sds"})
    said = [r.getMessage() for r in caplog.records]
    assert any(line.startswith("system.guidance.guidance_scale: 100.0 is a scale for SDS") for line in said)


def system(name, loss, optimizer=None, **further):
    block = {"guidance_type": name, "guidance": {}, "loss": loss, "optimizer": optimizer or {}, **further}
    return OmegaConf.create({"system": block}).system


@pytest.mark.parametrize(
    "cls, block, message",
    [
        (MSD, system("msd-guidance", {"lambda_sds": 1.0}).guidance, r"append system\.loss\.lambda_msd=1\.0"),
        (
            MSD,
            system("msd-guidance", {"lambda_msd": 1.0}, freq={}).guidance,
            r"append system\.loss\.lambda_sds=1\.0",
        ),
        (
            MSD,
            system("msd-guidance", {"lambda_msd": 1.0}, guidance_3d={}).guidance_3d,
            r"append system\.loss\.lambda_3d_msd=1\.0",
        ),
        (
            MSD,
            system("m", {"lambda_msd": 1.0}, visualize_samples=True).guidance,
            r"visualize_samples: expected",
        ),
        (VSD, system("v", {}, start_editing_step=5).guidance, "an editing system takes no loss"),
        (
            MSD,
            system("m", {}, start_editing_step=5).guidance,
            r"append 'system\.guidance\.trainer_max_steps=",
        ),
        (
            VSD,
            system("v", {"lambda_vsd": 1.0, "lambda_lora": 1.0}, {"params": {"geometry": {}}}).guidance,
            r"append system\.optimizer\.params\.guidance\.lr=1e-4",
        ),
        (
            MSD,
            system("m", {"lambda_msd": 1.0}).guidance,
            r"append 'system\.guidance\.trainer_max_steps=\$\{trainer\.max_steps\}'",
        ),
    ],
)
def test_what_is_missing_around_it_is_told_with_the_override(cls, block, message):
    with pytest.raises(UserError, match=message):
        cls(block)


def test_a_constant_bandwidth_needs_no_length():
    constant = {"type": "constant", "start": 1.0, "end": 1.0}
    assert not MSD.Config(bandwidth=constant).follows_progress


@pytest.fixture(scope="module")
def msd(folder):
    return MSD({**folder, "sampler": {"type": "posterior", "steps": 2}})


def test_latents_of_any_size_are_decoded_and_fitted(msd):
    assert msd.decode_latents(torch.randn(1, 4, 9, 9)).shape == (1, 3, 16, 16)
    assert msd.decode_latents(torch.randn(1, 4, 9, 9), latent_height=8, latent_width=6).shape == (
        1,
        3,
        32,
        24,
    )
    assert msd.encode(torch.randn(1, 32, 32, 4), True).shape == (1, *msd.model.latent_shape)
    before = msd.evaluations
    out = msd(torch.randn(1, 32, 32, 4), PromptUtils(), **cameras(1), rgb_as_latents=True)
    assert torch.isfinite(out["loss_msd"])
    assert msd.evaluations > before
    with pytest.raises(UserError, match="rgb_as_latents: expected 4 channels"):
        msd(torch.randn(1, 8, 8, 3), PromptUtils(), **cameras(1), rgb_as_latents=True)


def test_sdi_system_is_shown_a_step_that_is_not_counted(msd):
    nfe, targets = msd.nfe, dict(msd.targets.entries)
    rgb = renders(1, size=24).detach()
    out = msd(rgb, PromptUtils(), **cameras(1), index=torch.tensor([3]), test_info=True)
    assert {name: tuple(image.shape) for name, image in out.items()} == dict.fromkeys(
        ("noisy_img", "noise_img", "target"), (24, 24, 3)
    )
    assert (out["target"] - rgb[0]).shape == rgb[0].shape
    assert (msd.nfe, msd.targets.entries) == (nfe, targets)


def test_image_conditioned_systems_read_loss_sds_and_the_range_of_times(msd):
    msd.set_min_max_steps(msd.cfg.min_step_percent, msd.cfg.max_step_percent)
    out = msd(renders(), PromptUtils(), **cameras(2), guidance_eval=True)
    assert out["loss_sds"] is out["loss_msd"]
    assert loss_of(out) == ["loss_msd"]
    assert out["eval"]["bs"] == len(out["eval"]["imgs_final"]) == 2
    with pytest.raises(KeyError):
        out["loss_vsd"]


class KeepsItsPrompt(BaseObject):
    """Stands for a prompt processor."""

    @dataclass
    class Config(BaseObject.Config):
        prompt: str = ""

    def __call__(self):
        return PromptUtils()


def zero123(folder, **prompt):
    """The guidance of a system that gives it no prompt, as zero123-system does."""
    block = {"guidance": folder, "guidance_type": "msd-sds-guidance", "loss": {"lambda_sds": 1.0}, "freq": {}}
    return SDS(OmegaConf.create({"system": {**block, **prompt}}).system.guidance)


def test_a_system_that_gives_no_prompt_gets_its_configs(folder, monkeypatch):
    monkeypatch.setitem(threestudio.__modules__, "keeps-its-prompt", KeepsItsPrompt)
    named = {"prompt_processor_type": "keeps-its-prompt", "prompt_processor": {"prompt": "a red mug"}}
    guidance = zero123(folder, **named)
    same = {**cameras(2), "index": torch.arange(2)}
    without, given = (guidance(renders(), *said, **same)["loss_sds"] for said in ([], [PromptUtils()]))
    assert torch.equal(without, given)


@pytest.mark.parametrize(
    "prompt", [{}, {"prompt_processor_type": "dummy-prompt-processor", "prompt_processor": {"prompt": ""}}]
)
def test_without_a_prompt_anywhere_the_overrides_are_told(folder, prompt):
    with pytest.raises(
        UserError, match=r"prompt_processor\.prompt: this system calls.*images alone.*append sys"
    ):
        zero123(folder, **prompt)(renders(), **cameras(2), rgb_as_latents=False)


def test_zero123_simple_system_reads_timesteps_and_renders(msd):
    rgb = renders()
    out = msd(rgb, PromptUtils(), **cameras(2))
    assert "rgb" in out and "rgb" not in list(out)  # it is shown, and not logged as the others are
    assert torch.equal(out["rgb"], rgb)
    levels = msd.model.denoiser.schedule.sigma_at(out["timesteps"])
    torch.testing.assert_close(levels, out["bandwidth"].expand(2), rtol=0.1, atol=0)


def test_editing_systems_take_the_target_as_images(msd):
    """instructnerf2nerf and control4d: the render, a photograph, the prompt; no camera and no loss."""
    before, targets = msd.nfe, dict(msd.targets.entries)
    out = msd(renders(1, size=24), renders(1, size=24), PromptUtils())
    assert out["edit_images"].shape == (1, 24, 24, 3)
    assert not out["edit_images"].requires_grad
    assert msd.nfe > before
    assert msd.targets.entries == targets


def test_networks_keep_their_precision_under_the_trainers_autocast(msd):
    rgb = renders()
    plain = msd(rgb, PromptUtils(), **cameras(2), index=torch.arange(2))["loss_msd"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = msd(rgb, PromptUtils(), **cameras(2), index=torch.arange(2))["loss_msd"]
    assert torch.equal(plain, mixed)


def test_gradients_are_clipped_where_asked(folder):
    def largest(**cfg):
        latents = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
        out = SDS({**folder, **cfg})(latents, PromptUtils(), **cameras(2), rgb_as_latents=True)
        return 2 * torch.autograd.grad(out["loss_sds"], latents)[0].abs().max()

    assert largest() > 0.1
    torch.testing.assert_close(largest(grad_clip=0.1), torch.tensor(0.1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cls", [SDS, pytest.param(VSD, marks=pytest.mark.new_diffusers)])
def test_a_scheduled_range_of_times_is_followed(folder, cls):
    guidance = cls({**folder, "max_step_percent": [5000, 0.98, 0.5, 5001]})
    for step, end in ((0, 0.98), (5000, 0.98), (5001, 0.5)):
        guidance.update_step(0, step)
        assert guidance.time_range == (0.02, end)


def test_a_count_goes_on_where_the_system_keeps_it(folder, caplog):
    first, second = SDS(folder), SDS(folder)
    first(renders(), PromptUtils(), **cameras(2))
    second.load_checkpoint_state(first.checkpoint_state())
    second.update_step(0, 7)
    with caplog.at_level(logging.WARNING):
        assert second(renders(), PromptUtils(), **cameras(2))["nfe"] == 2 * first.nfe > 0
    assert "counts from" not in caplog.text


def test_a_count_that_starts_late_is_told(folder, caplog):
    guidance = SDS(folder)
    guidance.update_step(0, 7)
    with caplog.at_level(logging.WARNING):
        guidance(renders(), PromptUtils(), **cameras(2))
    assert "nfe counts from step 7 on" in caplog.text


def test_a_system_that_does_not_stop_is_told_once(folder, caplog):
    constant = {"type": "constant", "start": 1.0, "end": 1.0}
    guidance = MSD({**folder, "sampler": {"type": "tweedie"}, "bandwidth": constant, "stop_threshold": 1e6})
    with caplog.at_level(logging.WARNING):
        for step in range(4):
            guidance.update_step(0, step)
            assert guidance(renders(), PromptUtils(), **cameras(2))["finished"] == 1
    assert caplog.text.count("stop_threshold was reached at step 0, but this system does not stop") == 1
