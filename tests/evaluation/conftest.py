"""What the tests of several modules share: comparisons without a prior."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
import torch
from evaluation.fakes import BAD, GOOD, MeanColour, one_by_one
from omegaconf import OmegaConf
from threestudio_msd.evaluation import compare as comparing
from threestudio_msd.evaluation.compare import Budget, Comparison, compare
from threestudio_msd.evaluation.images import read_records, write_samples
from threestudio_msd.evaluation.references import Sampling

CONFIG = OmegaConf.create({"system": {"guidance": {"pretrained_model_name_or_path": "some-model"}}})


def grey_samples(config, prompts, seeds, settings, out):
    """DDIM images: grey, with a little noise, so that covariances are not degenerate."""
    for prompt in prompts:
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed + len(prompt))
            noise = torch.randn(settings.particles, 8, 8, 3, generator=generator)
            write_samples(out, prompt, seed, 0.5 + 0.1 * noise)
    return read_records(out)


@pytest.fixture
def comparison(tmp_path):
    """Makes a small comparison in the test's folder, of GOOD and BAD by default."""

    def make(*methods, **settings):
        defaults = {
            "prompts": ["a red mug", "a blue car"],
            "seeds": 2,
            "budgets": [Budget("steps", 8)],
            "frames": 4,
        }
        sampling = Sampling(4, 10, 2.0)
        methods = methods or (GOOD, BAD)
        return Comparison(methods, out=tmp_path, sampling=sampling, **{**defaults, **settings})

    return make


@pytest.fixture
def measured(monkeypatch):
    """Runs and measures a comparison in this process, with grey images in the place of DDIM's."""
    monkeypatch.setattr(comparing, "sample_prompts", grey_samples)

    def run(comparison, ran=None, extractors=None):
        extractors = extractors or {"mean": MeanColour()}
        return compare(comparison, CONFIG, extractors, partial(one_by_one, ran=ran))

    return run


@pytest.fixture
def package_path():
    """An environment for other processes, in which the package is found."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "custom")}
