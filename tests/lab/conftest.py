"""What the tests of several modules share: comparisons without a prior."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
from lab.fakes import BAD, CONFIG, GOOD, MeanColour, grey_samples, one_by_one
from msd_lab.compare import comparison as comparing
from msd_lab.compare.comparison import Budget, Comparison, compare
from msd_lab.measure.references import Sampling
from msd_lab.training.data import DataConfig, Images, cached_images


@pytest.fixture(scope="session")
def renders(tmp_path_factory) -> Images:
    """96 labelled true renders of the tiny world, rendered once for all processes of a test run."""
    shared = tmp_path_factory.getbasetemp().parent
    return cached_images(DataConfig(views=8, colours_per_view=1, seed=424_242), shared)


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
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(
            str(Path(__file__).resolve().parents[2] / name) for name in ("custom", "lab")
        ),
    }
