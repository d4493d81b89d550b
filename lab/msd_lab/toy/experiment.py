"""Experiments of the toys, and the loop that runs any of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from threestudio_msd.files import write_whole

from .. import jobs
from ..jobs import Job
from .learned import PUBLISHED_SETUP, Training, learned
from .problems import Problem, Published


@dataclass(frozen=True)
class Scale:
    """Size of an experiment.

    Args:
        grid: Points along each side of the starting grid; the reference sample is as
            large as the grid.
        steps: Optimiser steps.
        training: Set-up of the learned denoisers.
        draws: Estimates at each point, where a gradient is measured.
        places: Points along each side, there.
        starts: Starting bandwidths of the frontier.
    """

    grid: int = 64
    steps: int = 150
    training: Training = PUBLISHED_SETUP
    draws: int = 1024
    places: int = 12
    starts: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5, 0.8, 1.2)


QUICK = Scale(
    grid=16, steps=50, training=Training(steps=256, batch=512), draws=64, places=6, starts=(0.1, 0.3, 1.2)
)


class Outcome(NamedTuple):
    """Result of one run.

    Attributes:
        figures: Measured values by metric.
        nfe: Denoiser evaluations behind them (`Measurement.nfe`).
        data: Whatever the experiment's picture draws; must pickle.
    """

    figures: dict[str, float]
    nfe: int
    data: Any = None


@dataclass(frozen=True)
class Measurement:
    """One figure of a table.

    Attributes:
        problem: Its column.
        method: Its row: an estimator or sampler.
        metric: What was measured.
        mean: Mean over the seeds; infinite where an estimator is deterministic
            (efficiency) or exact (oracle efficiency), minus infinite without signal.
        std: Standard deviation over the seeds (n - 1); None for a single seed or an
            infinite mean.
        seeds: Number of seeds.
        paper: The paper's figure, where it has one.
        nfe: Denoiser evaluations per point: of an optimisation (Tables 1, 2), of an
            estimate (Table 3, bias).
    """

    problem: Problem
    method: str
    metric: str
    mean: float
    std: float | None
    seeds: int
    paper: float | None
    nfe: int


@dataclass(frozen=True)
class Batch:
    """Runs of one kind: every method on every problem, with every seed.

    Attributes:
        problems: Columns of a table.
        methods: Its rows: the method that `measure` receives, by the row's name; or a
            function of the results so far that returns them.
        measure: Called with (problem, method, seed, scale, progress=) in a process of
            the pool.
        seeds: Number of seeds, if it does not depend on the user's choice.
        grid: Upper limit of `Scale.grid`.
        training: Upper limit of the steps of `Scale.training`.
        learned: Whether the runs need the learned networks.
    """

    problems: Sequence[Problem]
    methods: Mapping[str, Any] | Callable[[Results], Mapping[str, Any]]
    measure: Callable[..., Outcome]
    seeds: int | None = None
    grid: int = Scale.grid
    training: int = PUBLISHED_SETUP.steps
    learned: bool = True

    def sized(self, scale: Scale) -> Scale:
        training = replace(scale.training, steps=min(scale.training.steps, self.training))
        return replace(scale, grid=min(scale.grid, self.grid), training=training)


# File name, its writer, and caption; without one the page leaves it out.
Picture = tuple[str, Callable[[Path], object], str]


@dataclass(frozen=True)
class Experiment:
    """A row of the table of experiments, and a command of `scripts/toy.py`.

    Attributes:
        name: The command.
        title: Heading on the page.
        text: A few sentences on what is shown; conclusions stand in the notebook,
            beside dated figures.
        batches: Runs, one batch after the other.
        pictures: Draws the pictures.
        paper: The paper's figures, shown beside ours.
    """

    name: str
    title: str
    text: str | Callable[[Results], str]
    batches: Sequence[Batch]
    pictures: Callable[[Results], Sequence[Picture]] = lambda results: ()
    paper: Published = field(default_factory=dict)


@dataclass
class Results:
    """What an experiment has found so far.

    Attributes:
        experiment: The experiment.
        scale: Size of the latest batch.
        measurements: In the order of batches, problems and methods.
        data: `Outcome.data` of the last seed, by problem and method.
        text: The experiment's text.
        pictures: Files with their captions.
    """

    experiment: Experiment
    scale: Scale
    measurements: list[Measurement] = field(default_factory=list)
    data: dict[Problem, dict[str, Any]] = field(default_factory=dict)
    text: str = ""
    pictures: list[tuple[Path, str]] = field(default_factory=list)

    def means(self, metric: str) -> dict[Problem, list[float]]:
        """Means of one metric by problem, in the methods' order."""
        found = [m for m in self.measurements if m.metric == metric]
        return {p: [m.mean for m in found if m.problem == p] for p in dict.fromkeys(m.problem for m in found)}


# Called with all measurements so far.
Save = Callable[[list[Measurement]], object]


def run(experiment: Experiment, scale: Scale, seeds: int, out: Path, save: Save = list) -> Results:
    """Run an experiment on all cores.

    Args:
        experiment: The experiment.
        scale: Size.
        seeds: Number of seeds, counted from 0.
        out: Folder for pictures; each is written whole or not at all.
        save: Called whenever a run ends.
    """
    results = Results(experiment, scale)
    for batch in experiment.batches:
        results.scale = batch.sized(scale)
        _gather(batch, results, seeds, save)
    for name, draw, caption in experiment.pictures(results):
        write_whole(out / name, draw)
        results.pictures += [(out / name, caption)] if caption else []
    results.text = experiment.text(results) if callable(experiment.text) else experiment.text
    return results


def _gather(batch: Batch, results: Results, seeds: int, save: Save) -> None:
    """Run a batch and add its measurements and data to the results."""
    if batch.learned:
        train_networks(batch.problems, results.scale.training)
    methods = batch.methods(results) if callable(batch.methods) else batch.methods
    rows = {
        Job(f"{name}: {p}, seed {seed}", batch.measure, (p, method, seed, results.scale)): (p, name)
        for p in batch.problems
        for name, method in methods.items()
        for seed in range(batch.seeds or seeds)
    }
    outcomes: dict[tuple[Problem, str], list[Outcome]] = {row: [] for row in rows.values()}
    before, paper = results.measurements, results.experiment.paper

    def collect(job: Job, outcome: Outcome) -> None:
        outcomes[rows[job]].append(outcome)
        found = [m for row, ended in outcomes.items() if ended for m in averaged(*row, ended, paper)]
        results.measurements = [*before, *found]
        save(results.measurements)

    done = jobs.run(list(rows), results.experiment.name, on_result=collect)
    for (problem, name), outcome in zip(rows.values(), done, strict=True):
        results.data.setdefault(problem, {})[name] = outcome.data


def train_networks(problems: Sequence[Problem], training: Training) -> None:
    """Train every network of the problems that is not in the cache yet."""
    wanted = {repr((d.name, t)): (d, t) for problem in problems for d, t in problem.networks(training)}
    work = [Job(f"learn {d.name}, width {t.width}", learned, (d, t)) for d, t in wanted.values()]
    jobs.run(work, "networks")


def averaged(
    problem: Problem, method: str, outcomes: Sequence[Outcome], paper: Published
) -> list[Measurement]:
    """Mean and deviation over the seeds for every metric of a method on a problem."""
    found = []
    for metric in outcomes[0].figures:
        values = sorted(outcome.figures[metric] for outcome in outcomes)  # the same sum in any order
        mean, beside = fmean(values), paper.get((problem, method, metric))
        std = stdev(values) if math.isfinite(mean) and len(values) > 1 else None
        found.append(Measurement(problem, method, metric, mean, std, len(values), beside, outcomes[0].nfe))
    return found


def over(
    settings: Mapping[str, Any],
    measure: Callable[[Any], tuple[dict[str, float], int]],
    progress: Callable[..., None],
) -> Outcome:
    """Measure every setting; its name is appended to its figures'. NFE of the last."""
    figures, nfe = {}, 0
    for index, (name, setting) in enumerate(settings.items(), 1):
        found, nfe = measure(setting)
        figures |= {f"{metric}{name}": value for metric, value in found.items()}
        progress(index, len(settings))
    return Outcome(figures, nfe)
