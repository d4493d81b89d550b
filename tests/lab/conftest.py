"""Fixtures that the laboratory's tests share: comparisons without a prior."""

from __future__ import annotations

from functools import partial

import pytest
import threestudio  # noqa: F401  (before the extension, which registers itself there)
from lab.fakes import BAD, CONFIG, GOOD, MeanColour, grey_samples, one_by_one
from msd_lab.compare import image
from msd_lab.compare.costs import Budget
from msd_lab.compare.engine import compare
from msd_lab.compare.image import ImageComparison
from msd_lab.measure.references import Sampling


@pytest.fixture
def comparison(tmp_path):
    """Makes a small comparison in the test's folder, of GOOD and BAD by default."""

    def make(*methods, **settings):
        defaults = {
            "methods": methods or (GOOD, BAD),
            "prompts": ["a red mug", "a blue car"],
            "seeds": 2,
            "budgets": [Budget("steps", 8)],
            "frames": 4,
            "sampling": Sampling(4, 10, 2.0),
            "extractors": {"mean": MeanColour()},
            "read": lambda *_: CONFIG,
            "probes": (1, 3),
            "out": tmp_path,
        }
        return ImageComparison(**{**defaults, **settings})

    return make


@pytest.fixture
def measured(monkeypatch):
    """Makes and measures a comparison in this process, with grey images in the place of DDIM's."""
    monkeypatch.setattr(image, "sample_prompts", grey_samples)
    return lambda comparison, ran=None: compare(comparison, partial(one_by_one, ran=ran))[0]
