"""Quality along the path: curves, and how soon a method reaches another's result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np
import torch

from ..measure.evaluate import Extractors, ImageSet, image_set
from ..measure.images import ImageRecord, Run
from ..measure.metrics import frechet_distance
from ..report.table import Spread
from .results import Figures, Point, Rows


def curve(
    runs: Sequence[Run], references: Mapping[str, ImageSet], extractors: Extractors
) -> tuple[Point, ...]:
    """Fréchet distances and alignment, by the first extractor, at every frame that all runs have."""
    name, features = next(iter(extractors.items()))
    paths = [run.frames() for run in runs]
    points = []
    for frames in zip(*paths, strict=False):
        images = [frame.images() for frame in frames]
        records = [
            ImageRecord(run.prompt, run.seed, particle, run.folder)
            for run, shown in zip(runs, images, strict=True)
            for particle in range(len(shown))
        ]
        shown = image_set(records, {name: features}, torch.cat(images))
        nfe = float(np.mean([frame.nfe for frame in frames]))
        points.append(Point(frames[0].step, nfe, _figures(shown, references, name)))
    return tuple(points)


def _figures(shown: ImageSet, references: Mapping[str, ImageSet], extractor: str) -> Figures:
    seeds = [shown.of_seed(seed) for seed in shown.seeds]
    found = {
        f"frechet_{name}": Spread(
            tuple(
                frechet_distance(reference.features[extractor], one.features[extractor])
                if min(len(reference.records), len(one.records)) > 1
                else float("nan")
                for one in seeds
            )
        )
        for name, reference in references.items()
    }
    return found | {
        name: Spread(tuple(float(one.alignment[extractor][name].mean()) for one in seeds))
        for name in shown.alignment[extractor]
    }


def nfe_to_reach(points: Sequence[Point], figure: str, level: float) -> float | None:
    """Evaluations until a curve's mean of a figure is `level` at most, linear between; None if never."""
    before: tuple[float, float] | None = None
    for point in points:
        value = point.figures[figure].mean
        if value <= level:
            if before is None or value == before[1]:
                return point.nfe
            fraction = (before[1] - level) / (before[1] - value)
            return before[0] + fraction * (point.nfe - before[0])
        before = (point.nfe, value)
    return None


@dataclass(frozen=True)
class Convergence:
    """How one method stands to the best of the others.

    Attributes:
        method: The best other.
        level: Its final figure.
        nfe: What it spent on a particle.
        reached: Evaluations after which ours has its level; None if it never does.
        above_floor: What ours ends with above the floor, as a part of what the other does; None where the
            other is not above it.
    """

    method: str
    level: float
    nfe: float
    reached: float | None
    above_floor: float | None

    @property
    def ratio(self) -> float | None:
        """Of the evaluations until ours has the other's level to those that it spent."""
        return None if self.reached is None else self.reached / self.nfe


def convergence(rows: Rows, ours: str, figure: str, floor: float) -> Convergence | None:
    """How soon `ours` reaches the best other method's final figure.

    Args:
        rows: A budget's methods.
        ours: The method in question.
        figure: A figure of which less is better.
        floor: The figure of DDIM images, which ratios are taken above.

    Returns:
        None where there is nothing to compare.
    """
    known = {
        label: row.figures[figure].mean
        for label, row in rows.items()
        if figure in row.figures and not isnan(row.figures[figure].mean)
    }
    if ours not in known or len(known) < 2:
        return None
    best = min((label for label in known if label != ours), key=known.__getitem__)
    reached = nfe_to_reach(rows[ours].curve, figure, known[best])
    above = (known[ours] - floor) / (known[best] - floor) if known[best] > floor else None
    return Convergence(best, known[best], rows[best].nfe, reached, above)
