"""Figures of sets of images: each against references, seed by seed, with its spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from torch import Tensor

from ..compare.results import About, Figures
from ..report.table import Spread
from .features import LPIPS, Features
from .images import ImageRecord, read_images
from .metrics import (
    contrast,
    diversity,
    frechet_distance,
    kernel_distance,
    precision_recall,
    saturation,
    sharpness,
)

NEAREST = 3

# Feature extractors by name. The first gives all figures and the curves; others'
# figures end in `@NAME`
Extractors = Mapping[str, Features]


@dataclass(frozen=True)
class ImageSet:
    """Images with what they stand for and what extractors see in them.

    Attributes:
        records: What each image stands for; only the seed, prompt and particle matter
            here.
        images: `[N, H, W, 3]` in [0, 1].
        features: `[N, D]` by extractor.
        alignment: How well each shows its prompt: by extractor, `[N]` by name of
            figure.
    """

    records: Sequence[ImageRecord]
    images: Tensor
    features: Mapping[str, np.ndarray]
    alignment: Mapping[str, Mapping[str, np.ndarray]]

    def of_seed(self, seed: int) -> ImageSet:
        rows = [i for i, record in enumerate(self.records) if record.seed == seed]
        alignment = {
            name: {figure: values[rows] for figure, values in found.items()}
            for name, found in self.alignment.items()
        }
        features = {name: values[rows] for name, values in self.features.items()}
        return ImageSet([self.records[i] for i in rows], self.images[rows], features, alignment)

    @property
    def seeds(self) -> list[int]:
        return sorted({record.seed for record in self.records})


def image_set(
    records: Sequence[ImageRecord], extractors: Extractors, images: Tensor | None = None
) -> ImageSet:
    """Load images, unless they are given, and compute their features and alignment.

    Raises:
        UserError: An image cannot be read, or they are not of one size.
    """
    images = read_images(records) if images is None else images
    prompts = [record.prompt for record in records]
    return ImageSet(
        records,
        images,
        {name: features(images) for name, features in extractors.items()},
        {name: features.alignment(images, prompts) for name, features in extractors.items()},
    )


def figures(images: ImageSet, references: Mapping[str, ImageSet]) -> Figures:
    """All figures of a set of images, each measured on every seed's images alone.

    Args:
        images: What is judged.
        references: By name, what it is compared with; each gives `frechet_`, `kernel_`,
            `precision_` and `recall_NAME`. They are NaN where there are too few images:
            fewer than two, or than five for precision and recall.

    Returns:
        By name; also `saturation`, `contrast`, `sharpness`, `diversity` (of a prompt's
        particles, in features), and the alignment's figures. Those of further
        extractors end in `@NAME`; `lpips` gives its mean over pairs of a prompt's
        particles alone.
    """
    by_seed = [_figures_of_one(images.of_seed(seed), references) for seed in images.seeds]
    return {name: Spread(tuple(found[name] for found in by_seed)) for name in by_seed[0]}


def _figures_of_one(images: ImageSet, references: Mapping[str, ImageSet]) -> dict[str, float]:
    found: dict[str, float] = {}
    prompts = [record.prompt for record in images.records]
    for i, (extractor, features) in enumerate(images.features.items()):
        if extractor == LPIPS:  # embeddings for distances between pictures, not of sets
            found[LPIPS] = diversity(features, prompts, squared=True)
            continue
        own = {name: float(values.mean()) for name, values in images.alignment[extractor].items()}
        own["diversity"] = diversity(features, prompts)
        for name, reference in references.items():
            own |= _distances(name, reference.features[extractor], features)
        found |= {f"{name}@{extractor}" if i else name: value for name, value in own.items()}
    for measure in (saturation, contrast, sharpness):
        found[measure.__name__] = float(measure(images.images).mean())
    return found


def _distances(name: str, reference: np.ndarray, features: np.ndarray) -> dict[str, float]:
    least = min(len(reference), len(features))
    precision, recall = precision_recall(reference, features, NEAREST) if least > NEAREST + 1 else (nan, nan)
    return {
        f"frechet_{name}": frechet_distance(reference, features) if least > 1 else nan,
        f"kernel_{name}": kernel_distance(reference, features) if least > 1 else nan,
        f"precision_{name}": precision,
        f"recall_{name}": recall,
    }


def described(
    images: ImageSet, references: Mapping[str, ImageSet], extractors: Extractors, sampling: str = ""
) -> About:
    """What has to be printed beside the figures."""
    return About(
        features="; ".join(features.description for features in extractors.values()),
        images=len(images.records),
        images_per_seed=len(images.records) // len(images.seeds),
        seeds=tuple(images.seeds),
        prompts=tuple(sorted({record.prompt for record in images.records})),
        references={name: len(reference.records) for name, reference in references.items()},
        precision_recall=f"k = {NEAREST}",
        sampling=sampling,
    )
