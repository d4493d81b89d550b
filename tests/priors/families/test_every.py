"""Every family: every guidance runs on it, with its own prompts, and gives the renders a gradient."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import pytest
import threestudio
import torch
from guidance.stand_ins import cameras, renders
from threestudio_msd.guidance import base
from threestudio_msd.priors import PriorError, load_model

import launch

pytestmark = pytest.mark.new_diffusers

CONFIGS = Path(__file__).parents[3] / "configs"
FAMILIES = ("sd", "sdxl", "sd3", "if_", "flux")
TRANSFORMERS = ("sd3", "flux")
NEWER = (
    "z_image", "qwen_image", "sana", "lumina2", "chroma", "pixart_sigma", "flux2_klein", "prx_pixel"
)  # fmt: skip
SIZED = ("qwen_image", "prx_pixel")  # what says no resolution


@functools.cache
def model_of(folder):
    sized = Path(folder).name in SIZED
    return load_model(folder, options={"resolution": 16} if sized else {})


@pytest.fixture
def loaded_once(monkeypatch):
    """Have guidances share a family's model, but for VSD, which adds adapters to it."""
    monkeypatch.setattr(base, "load_model", lambda folder, *_: model_of(folder))


@functools.cache
def prompts_of(folder):
    """The prompt processor's output, embedded once for a pipeline."""
    processor = {"pretrained_model_name_or_path": folder, "prompt": "a mug"}
    return threestudio.find("msd-pipeline-prompt-processor")(processor)()


def gradient(folder, name, use_perp_neg=False, **settings):
    """The gradient that two renders get from one step."""
    model = {"pretrained_model_name_or_path": folder}
    prompts = dataclasses.replace(prompts_of(folder), use_perp_neg=use_perp_neg)
    guidance = threestudio.find("msd-guidance" if name == "msd" else f"msd-{name}-guidance")
    rgb = renders()
    guidance({**model, "trainer_max_steps": 10, **settings})(rgb, prompts, **cameras(2))[
        f"loss_{name}"
    ].backward()
    return rgb.grad


@pytest.mark.parametrize("name", ["msd", "sds", "sdi", "vsd", "csd", "ism"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_guidance_runs(pipeline_of, loaded_once, monkeypatch, family, name):
    if name == "vsd":
        monkeypatch.setattr(base, "load_model", load_model)
    if name == "vsd" and family in TRANSFORMERS:
        with pytest.raises(PriorError, match=r"VSD needs a UNet, which .* has not"):
            gradient(pipeline_of(family), name)
        return
    found = gradient(pipeline_of(family), name)
    assert torch.isfinite(found).all()
    assert found.abs().sum() > 0


@pytest.mark.parametrize("family", NEWER)
def test_vsd_refuses_a_transformer_and_every_other_guidance_runs(
    pipeline_of, loaded_once, monkeypatch, family
):
    for name in ("sds", "sdi", "csd", "ism"):
        found = gradient(pipeline_of(family), name)
        assert torch.isfinite(found).all()
        assert found.abs().sum() > 0
    monkeypatch.setattr(base, "load_model", load_model)
    with pytest.raises(PriorError, match=r"VSD needs a UNet, which .* has not"):
        gradient(pipeline_of(family), "vsd")


@pytest.mark.parametrize("settings", [{"use_perp_neg": True}, {"loss_space": "image"}], ids=str)
@pytest.mark.parametrize("family", FAMILIES + NEWER)
def test_perp_neg_and_a_loss_over_images_too(pipeline_of, loaded_once, family, settings):
    found = gradient(pipeline_of(family), "msd", **settings)
    assert torch.isfinite(found).all()
    assert found.abs().sum() > 0


@pytest.mark.parametrize(
    ("family", "config"),
    [("sdxl", "msd-sdxl"), ("sd3", "msd-sd3"), ("if_", "msd-if"), ("flux", "msd-flux")]
    + [(family, f"msd-{family.replace('_', '-')}") for family in NEWER],
    ids=["sdxl", "sd3", "if", "flux", *NEWER],
)
def test_its_config_runs_from_the_command_line(pipeline_of, family, config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sizes = [f"data.{name}=16" for name in ("height", "width", "eval_height", "eval_width")]
    model = f"system.prompt_processor.pretrained_model_name_or_path={pipeline_of(family)}"
    option = ["system.guidance.model_options.resolution=16"] if family in SIZED else []
    small = [
        *sizes,
        *option,
        model,
        "data.n_particles=1",
        "trainer.max_steps=2",
        "tag=small",
        "use_timestamp=false",
    ]
    assert launch.main(["--config", str(CONFIGS / f"{config}.yaml"), "--train", *small]) == 0
    assert (tmp_path / f"outputs/{config}/small/save/path.png").is_file()
