"""The baselines' gradients against threestudio's own guidance modules, on the same inputs, weights and random
numbers.

Needs THREESTUDIO_ROOT, a checkout; without CUDA also THREESTUDIO_SHIM, a folder of stand-ins for its CUDA
packages.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import threestudio
import threestudio_msd  # noqa: F401  (registers)
import torch
from guidance.parity import INVERSION_T, PromptUtils, T
from msd_lab.bench.random_pipelines import save_random_pipeline
from safetensors.torch import load_file, save_file

pytestmark = pytest.mark.threestudio
BATCH = 2


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    # threestudio's VSD has 1280 hard-coded
    wide = {"unet": {"time_embedding_dim": 1280}}
    return save_random_pipeline(tmp_path_factory.mktemp("parity") / "pipeline", "sd15", changes=wide)


@pytest.fixture(scope="module")
def inputs():
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "latents": (BATCH, 4, 4, 4),
        "noise": (BATCH, 4, 4, 4),
        "embeddings": (2, 8, 16),
        "c2w": (BATCH, 4, 4),
    }
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def theirs(pipeline, inputs, tmp_path_factory):
    root = os.environ.get("THREESTUDIO_ROOT")
    if root is None:
        pytest.skip("THREESTUDIO_ROOT names no checkout")
    folder = tmp_path_factory.mktemp("theirs")
    save_file(inputs, folder / "inputs.safetensors")
    shim = [os.environ["THREESTUDIO_SHIM"]] if "THREESTUDIO_SHIM" in os.environ else []
    script = Path(__file__).with_name("parity.py")
    paths = [
        root,
        str(pipeline),
        str(folder / "inputs.safetensors"),
        str(folder / "output.safetensors"),
        *shim,
    ]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, str(script), *paths],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return load_file(folder / "output.safetensors")


class GivenNoise:
    """The given noise for latents, the middle of their range for uniform numbers."""

    def __init__(self, noise):
        self.noise = noise
        self.generators = [torch.Generator().manual_seed(0) for _ in noise]

    def __call__(self, like):
        return self.noise if like.ndim == 4 else torch.zeros_like(like)


def ours(kind, pipeline, inputs, **cfg):
    """The gradient on the latents, with the given noise and 0.5 for every uniform number."""
    guidance = threestudio.find(f"msd-{kind}-guidance")(
        {"pretrained_model_name_or_path": str(pipeline), **cfg}
    )
    guidance.noise = lambda *key: GivenNoise(inputs["noise"])
    return guidance


def gradient(guidance, inputs):
    latents = inputs["latents"].clone().requires_grad_()
    zeros = torch.zeros(BATCH)
    out = guidance(
        latents.permute(0, 2, 3, 1),
        PromptUtils(inputs["embeddings"]),
        elevation=zeros,
        azimuth=zeros,
        camera_distances=zeros,
        rgb_as_latents=True,
        c2w=inputs["c2w"],
    )
    return BATCH * torch.autograd.grad(out[f"loss_{guidance.name}"], latents)[0]


def times(t):
    return {"min_step_percent": t / 1000, "max_step_percent": t / 1000}


def relative_error(a, b):
    return float((a - b).norm() / b.norm())


def test_sds(pipeline, inputs, theirs):
    g = ours("sds", pipeline, inputs, guidance_scale=101.0, **times(T))
    assert relative_error(gradient(g, inputs), theirs["sds"]) < 1e-4


def test_sdi(pipeline, inputs, theirs):
    g = ours(
        "sdi",
        pipeline,
        inputs,
        guidance_scale=8.5,
        inversion_guidance_scale=-6.5,
        trainer_max_steps=1,
        **times(INVERSION_T),
    )
    assert relative_error(gradient(g, inputs), theirs["sdi"]) < 1e-4


def test_vsd_with_the_same_adapters_and_camera_embedding(pipeline, inputs, theirs):
    g = ours("vsd", pipeline, inputs, camera_condition_type="extrinsics", **times(T))
    adapters = {name.replace("/", "."): parameter for name, parameter in g.lora.adapters.items()}
    assert set(adapters) == {name.removeprefix("lora.") for name in theirs if name.startswith("lora.")}
    with torch.no_grad():
        for name, parameter in adapters.items():
            parameter.copy_(theirs[f"lora.{name}"])
        for name, parameter in g.lora.camera_embedding.named_parameters():
            parameter.copy_(theirs[f"camera.{name}"])
    assert relative_error(gradient(g, inputs), theirs["vsd"]) < 1e-3
