"""Figures of sets of images: each against references, seed by seed, with its spread."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path

import numpy as np
from torch import Tensor

from ..files import save_text
from .features import Features
from .images import ImageRecord, read_images
from .metrics import (
    Spread,
    diversity,
    frechet_distance,
    kernel_distance,
    precision_recall,
    saturation,
    sharpness,
)

NEAREST = 3


@dataclass(frozen=True)
class ImageSet:
    """Images with what they stand for and their features.

    Attributes:
        records: What each image stands for; only the seed, prompt and particle matter here.
        images: `[N, H, W, 3]` in [0, 1].
        features: `[N, D]`.
        alignment: How well each shows its prompt, `[N]` by name of figure.
    """

    records: Sequence[ImageRecord]
    images: Tensor
    features: np.ndarray
    alignment: Mapping[str, np.ndarray]

    def of_seed(self, seed: int) -> ImageSet:
        """The part with one seed."""
        rows = [i for i, record in enumerate(self.records) if record.seed == seed]
        alignment = {name: values[rows] for name, values in self.alignment.items()}
        return ImageSet([self.records[i] for i in rows], self.images[rows], self.features[rows], alignment)

    @property
    def seeds(self) -> list[int]:
        """The seeds there are."""
        return sorted({record.seed for record in self.records})


def image_set(records: Sequence[ImageRecord], features: Features, images: Tensor | None = None) -> ImageSet:
    """Load images, unless they are given, and compute their features and alignment."""
    images = read_images(records) if images is None else images
    return ImageSet(
        records, images, features(images), features.alignment(images, [record.prompt for record in records])
    )


def figures(images: ImageSet, references: Mapping[str, ImageSet]) -> dict[str, Spread]:
    """All figures of a set of images, each measured on every seed's images alone.

    Args:
        images: What is judged.
        references: By name, what it is compared with; each gives `frechet_`, `kernel_`, `precision_` and
            `recall_NAME`, the last two NaN for sets of fewer than five images.

    Returns:
        By name; also `saturation`, `sharpness`, `diversity` (of a run's particles, in features), and the
        alignment's figures.
    """
    by_seed = [_figures_of_one(images.of_seed(seed), references) for seed in images.seeds]
    return {name: Spread(tuple(found[name] for found in by_seed)) for name in by_seed[0]}


def _figures_of_one(images: ImageSet, references: Mapping[str, ImageSet]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, reference in references.items():
        found[f"frechet_{name}"] = frechet_distance(reference.features, images.features)
        found[f"kernel_{name}"] = kernel_distance(reference.features, images.features)
        enough = min(len(reference.features), len(images.features)) > NEAREST + 1
        precision, recall = (
            precision_recall(reference.features, images.features, NEAREST) if enough else (nan, nan)
        )
        found |= {f"precision_{name}": precision, f"recall_{name}": recall}
    found |= {name: float(values.mean()) for name, values in images.alignment.items()}
    found["saturation"] = float(saturation(images.images).mean())
    found["sharpness"] = float(sharpness(images.images).mean())
    found["diversity"] = diversity(images.features, [record.prompt for record in images.records])
    return found


def described(images: ImageSet, references: Mapping[str, ImageSet], features: Features) -> dict[str, object]:
    """What has to be printed beside the figures."""
    return {
        "features": features.description,
        "images": len(images.records),
        "images_per_seed": len(images.records) // len(images.seeds),
        "seeds": images.seeds,
        "prompts": sorted({record.prompt for record in images.records}),
        "references": {name: len(reference.records) for name, reference in references.items()},
        "precision_recall": f"k = {NEAREST}",
        "spread": "mean and standard deviation (n - 1) over seeds",
    }


def as_json(found: Mapping[str, Spread]) -> dict[str, dict[str, object]]:
    """Figures as plain containers; what is unknown (NaN) is null."""

    def known(value: float) -> float | None:
        return None if isnan(value) else value

    return {
        name: {
            "mean": known(spread.mean),
            "std": known(spread.std),
            "values": [known(value) for value in spread.values],
        }
        for name, spread in found.items()
    }


def write_json(path: Path, content: object) -> None:
    """Write JSON whole or not at all."""
    save_text(json.dumps(content, indent=1) + "\n", path)
