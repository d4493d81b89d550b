"""Variants of ablations."""

from __future__ import annotations

from pathlib import Path

import pytest
import threestudio
from msd_lab.compare.variants import GROUPS, write_variants
from omegaconf import OmegaConf
from threestudio_msd.distillation import SAMPLERS, SCHEDULES
from threestudio_msd.settings import build_part

CONFIG = Path(__file__).parents[3] / "configs" / "msd-tiny.yaml"


@pytest.mark.parametrize("group", GROUPS)
def test_variants_are_configs_that_differ_in_guidance_and_images_alone(group, tmp_path):
    words = write_variants(str(CONFIG), group, tmp_path)
    assert [word.partition("=")[0] for word in words] == list(GROUPS[group])
    variants = [
        OmegaConf.to_container(OmegaConf.load(word.partition("=")[2]), resolve=False) for word in words
    ]
    guidances, images = (
        [variant["system"].pop(name) for variant in variants] for name in ("guidance", "geometry")
    )
    differing = list(zip(guidances, images, strict=True))
    assert len(differing) >= 2
    assert all(differing.count(pair) == 1 for pair in differing)
    assert all(variant == variants[0] for variant in variants)
    assert group == "fit" or all(image == images[0] for image in images)
    for image in images:
        threestudio.find("msd-image-mlp")(OmegaConf.create({**image, "n_particles": 1, "seed": 0}))
    for guidance in guidances:
        build_part(SAMPLERS, guidance["sampler"], "sampler")
        build_part(SCHEDULES, guidance["bandwidth"], "bandwidth")
