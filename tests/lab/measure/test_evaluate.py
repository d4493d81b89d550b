"""Figures of sets of images: seed by seed, by extractor, and dashes where there are too few."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from lab.fakes import MeanColour
from msd_lab.measure.evaluate import described, figures, image_set
from msd_lab.measure.images import ImageRecord


def records(seeds, particles, prompts=("a red mug",)):
    return [
        ImageRecord(prompt, seed, particle, Path("nowhere"))
        for seed in seeds
        for prompt in prompts
        for particle in range(particles)
    ]


def images(count, mean, seed=0):
    noise = torch.randn(count, 8, 8, 3, generator=torch.Generator().manual_seed(seed))
    return (mean + 0.05 * noise).clamp(0, 1)


EXTRACTORS = {"mean": MeanColour(), "again": MeanColour()}


@pytest.fixture
def grey():
    return image_set(records((1000,), 12), EXTRACTORS, images(12, 0.5))


def test_a_seed_is_measured_by_itself(grey):
    both = torch.cat([images(6, 0.5, 1), images(6, 0.9, 2)])
    ours = image_set(records((0, 1), 6), EXTRACTORS, both)
    found = figures(ours, {"ddim": grey})
    alone = [figures(ours.of_seed(seed), {"ddim": grey}) for seed in (0, 1)]
    for name, spread in found.items():
        values = [one[name].values[0] for one in alone]
        assert spread.values == pytest.approx(values, nan_ok=True), name
    near, far = found["frechet_ddim"].values
    assert far > 10 * near
    assert found["alignment"].values == pytest.approx((0.5, 0.9), abs=0.01)


def test_the_first_extractor_has_the_plain_names_and_images_are_measured_once(grey):
    found = figures(grey, {"ddim": grey})
    assert found["frechet_ddim@again"] == found["frechet_ddim"]
    assert found["frechet_ddim"].mean == pytest.approx(0, abs=1e-6)
    assert {name for name in found if "@" not in name} - {
        name.partition("@")[0] for name in found if "@" in name
    } == {
        "saturation",
        "contrast",
        "sharpness",
    }


@pytest.mark.parametrize(
    ("count", "missing"),
    [(1, {"frechet", "kernel", "precision", "recall"}), (4, {"precision", "recall"}), (5, set())],
)
def test_too_few_images_have_no_figure(grey, count, missing):
    found = figures(image_set(records((0,), count), EXTRACTORS, images(count, 0.5, 3)), {"ddim": grey})
    kinds = ("frechet", "kernel", "precision", "recall")
    assert {kind for kind in kinds if math.isnan(found[f"{kind}_ddim"].mean)} == missing


def test_what_stands_beside_the_figures(grey):
    prompts = ("b", "a")
    ours = image_set(records((3, 4), 2, prompts), {"mean": MeanColour()}, images(8, 0.5))
    about = described(ours, {"ddim": grey}, EXTRACTORS, "50 steps")
    assert (about.images, about.images_per_seed, about.seeds, about.prompts) == (8, 4, (3, 4), ("a", "b"))
    assert about.features == "mean colour; mean colour"
    assert (about.references, about.precision_recall, about.sampling) == ({"ddim": 12}, "k = 3", "50 steps")
