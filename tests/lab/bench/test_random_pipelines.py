"""Pipelines with random weights: the published sizes, and tiny ones that run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from msd_lab.bench.architectures import ARCHITECTURES
from msd_lab.bench.random_pipelines import parameters, save_random_pipeline
from safetensors.torch import load_file
from threestudio_msd.errors import UserError

CLIP_L, CLIP_H, BIG_G, T5 = 123_060_480, 340_387_840, 694_659_840, 4_762_310_656
PUBLISHED = {
    "sd15": {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": CLIP_L},
    "sd21": {"unet": 865_910_724, "vae": 83_653_863, "text_encoder": CLIP_H},
    "sdxl": {"unet": 2_567_463_684, "vae": 83_653_863, "text_encoder": CLIP_L, "text_encoder_2": BIG_G},
    "sd3": {"transformer": 2_028_328_000, "vae": 83_819_683, "text_encoder_2": BIG_G, "text_encoder_3": T5},
    "flux": {"transformer": 11_901_408_320, "vae": 83_819_683, "text_encoder": CLIP_L, "text_encoder_2": T5},
    "if": {"unet": 4_304_695_110, "text_encoder": T5},
}


NAMED = {"z-image": 6, "qwen-image": 20, "sana": 1.6, "lumina2": 2.6, "chroma": 8.9, "flux2-klein": 4}
"""Billions of parameters of the transformer, as the models' names or papers say."""


def of_new_diffusers(*names: str) -> list:
    """All architectures, some of them for the newer diffusers only."""
    return [pytest.param(like, marks=[pytest.mark.new_diffusers] * (like in names)) for like in ARCHITECTURES]


@pytest.mark.parametrize("like", PUBLISHED)
def test_full_size_is_the_published_one(like):
    found = parameters(like)
    assert {part: found[part] for part in PUBLISHED[like]} == PUBLISHED[like]


@pytest.mark.new_diffusers
@pytest.mark.parametrize("like", NAMED)
def test_full_size_is_about_what_is_said(like):
    assert parameters(like)["transformer"] == pytest.approx(NAMED[like] * 1e9, rel=0.06)


@pytest.mark.parametrize("like", of_new_diffusers(*{*ARCHITECTURES} - {"sd15", "sd21", "if"}))
def test_its_parts_are_those_that_the_pipeline_asks_for(like, pipeline_of):
    import diffusers

    family = {"sd15": "sd", "if": "if_"}.get(like, like)
    index = json.loads(Path(pipeline_of(family), "model_index.json").read_text())
    pipeline = getattr(diffusers, index["_class_name"])
    required, _ = pipeline._get_signature_keys(pipeline)
    parts = {name for name, value in index.items() if isinstance(value, list)}
    assert {*required} - {"self", *pipeline._optional_components} <= parts
    assert parts <= {*required, *pipeline._optional_components}


def test_weights_have_their_precision_and_depend_on_seed_and_part_alone(tmp_path):
    name = "unet/diffusion_pytorch_model.safetensors"
    first, again, other = (
        load_file(save_random_pipeline(tmp_path / str(i), "sd21", seed=seed, dtype=torch.float16) / name)
        for i, seed in enumerate((0, 0, 1))
    )
    assert {tensor.dtype for tensor in first.values()} == {torch.float16}
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize(
    ("like", "size", "message"),
    [
        ("sdx", "tiny", "--like: expected one of sd15, .* got 'sdx'.*sdxl"),
        ("sd15", "tini", "--size: expected one of tiny, full, got 'tini'.*tiny"),
    ],
)
def test_an_unknown_one_is_answered_with_the_nearest(tmp_path, like, size, message):
    with pytest.raises(UserError, match=message):
        save_random_pipeline(tmp_path, like, size)
