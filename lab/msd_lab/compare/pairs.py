"""A method on every (object, colour) pair of the tiny world, beside DDIM samples of its prior.

python -m msd_lab pairs --config configs/msd-tiny.yaml --particles 4 --json pairs.json

Both classifiers read the images. Pairs that the prior was trained on and those held out are counted apart.
Finished runs are kept in --out: the same command resumes where it stopped. A deviation is over particles:
particle i of all pairs is one repetition.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from rich.console import Console
from threestudio_msd.errors import UserError
from threestudio_msd.files import save_text

from launcher.checks.config import read_checked

from ..measure.images import ImageRecord, Run, read_images
from ..measure.references import Sampling, sample_prompts
from ..report.table import Spread, Table
from ..tinyworld.judge import JUDGES, Judge, load_judge
from ..tinyworld.world import Caption, all_pairs, parse_prompt
from .engine import Comparison, Failed, run_comparison
from .execution import Execute, executor, run_all
from .methods import DDIM, Method
from .results import to_json
from .runs import PlannedRun

HEADS = ("object", "colour", "both")


@dataclass(frozen=True)
class Share:
    """The share of images that show what was asked.

    Attributes:
        mean: The share.
        std: Deviation over particles, each of which is one repetition of all pairs; None for a single one.
        images: Out of how many.
    """

    mean: float
    std: float | None
    images: int

    @classmethod
    def of(cls, hits: Mapping[int, Sequence[bool]]) -> Share:
        by_particle = Spread(tuple(statistics.mean(own) for own in hits.values()))
        every = [hit for own in hits.values() for hit in own]
        return cls(sum(every) / len(every), by_particle.std if len(hits) > 1 else None, len(every))

    def __str__(self) -> str:
        return f"{100 * self.mean:.1f}" + ("" if self.std is None else f" ± {100 * self.std:.1f}")


Accuracy: TypeAlias = dict[str, dict[str, Share]]
"""Shares by kind of pair, `seen` or `held out`, and by head."""


def prompts(every: int = 1) -> list[str]:
    return [Caption(*pair).text for pair in all_pairs()[::every]]


def accuracy(records: Sequence[ImageRecord], judge: Judge) -> Accuracy:
    """Count the images that a classifier finds to show what their prompts ask for.

    Raises:
        UserError: An image cannot be read.
    """
    asked = [parse_prompt(record.prompt) for record in records]
    right = judge.classify(read_images(records)).right(asked)
    hits: dict[str, dict[str, dict[int, list[bool]]]] = {}
    for i, (record, caption) in enumerate(zip(records, asked, strict=True)):
        kind = "held out" if caption.held_out else "seen"
        heads = hits.setdefault(kind, {head: defaultdict(list) for head in HEADS})
        for head in HEADS:
            heads[head][record.particle].append(right[head][i])
    return {kind: {head: Share.of(own) for head, own in heads.items()} for kind, heads in hits.items()}


@dataclass(frozen=True)
class PairResults:
    """How often a method's images, and DDIM samples of its prior, show what was asked.

    Attributes:
        accuracy: By the method's label, and DDIM's, and by the classifier's name.
        nfe: Network function evaluations that an image took.
        failed: How many runs failed; they are left out.
    """

    accuracy: dict[str, dict[str, Accuracy]]
    nfe: float
    failed: int


@dataclass(frozen=True, kw_only=True)
class PairComparison(Comparison):
    """One method beside DDIM, by what classifiers read in its images; `prompts` are the pairs.

    Attributes:
        judges: The classifiers, by name.
        max_steps: Optimiser steps of a run; the config's own by default.
        sampling: How the prior is sampled.
    """

    judges: Mapping[str, Judge]
    max_steps: int | None = None
    sampling: Sampling

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_steps is not None:
            self.require(max_steps=1)

    @cached_property
    def steps(self) -> int:
        return self.max_steps or int(self.settings(self.methods[0]).trainer.max_steps)

    def planned(self) -> list[PlannedRun]:
        (method,), steps = self.methods, self.steps
        root = str((self.out / f"{self.particles}x{steps}").resolve())
        settings = {"particles": self.particles, "frames": 1}
        return [
            PlannedRun(method, prompt, self.first_seed, steps, root, **settings) for prompt in self.prompts
        ]

    first_runs = planned

    def make(self, execute: Execute) -> tuple[PairResults, Failed]:
        """See `Comparison`.

        Raises:
            UserError: All runs failed.
        """
        (method,), runs = self.methods, self.planned()
        failed = run_all(runs, execute)
        if len(failed) == len(runs):
            raise UserError(f"{method.label}: every run failed; {next(iter(failed.values()))}")
        sampled = sample_prompts(
            self.settings(method), self.prompts, self.seed_range, self.sampling, self.out / "ddim"
        )
        finished = [Run(run.folder) for run in runs if run not in failed]
        images = {method.label: [record for run in finished for record in run.records()], DDIM: sampled}
        found = {
            label: {name: accuracy(records, judge) for name, judge in self.judges.items()}
            for label, records in images.items()
        }
        return PairResults(found, max(run.nfe for run in finished), len(failed)), failed

    def report(self, results: PairResults) -> str:
        """Print the table; returns what stands under it."""
        Console().print(as_table(results.accuracy).console())
        worth = [f"{name}: {own_accuracy(judge)}" for name, judge in self.judges.items()]
        cost = f"{self.steps} optimiser steps, {results.nfe:g} NFE an image; DDIM: {self.sampling}"
        return "\n".join([cost, *worth])


def as_table(found: Mapping[str, Mapping[str, Accuracy]]) -> Table:
    judges = list(next(iter(found.values())))
    head = ["method", "pairs", "images", *(f"{head}, {name}" for head in HEADS for name in judges)]
    rows = [
        [method, kind, heads["both"].images, *(read[name][kind][head] for head in HEADS for name in judges)]
        for method, read in found.items()
        for kind, heads in read[judges[0]].items()
    ]
    return Table(head, rows, "right object and colour, per cent of images, mean and deviation over particles")


def own_accuracy(judge: Judge) -> str:
    own = ", ".join(f"{head} {100 * judge.accuracy[head]:.1f} %" for head in HEADS if head in judge.accuracy)
    return f"its own accuracy on {judge.accuracy['renders']} fresh true renders: {own}"


def run(args: argparse.Namespace) -> int:
    judges = {f"judge {name}": load_judge(name) for name in JUDGES}
    comparison = PairComparison(
        methods=[Method(Path(args.config).stem, str(Path(args.config).resolve()), tuple(args.overrides))],
        prompts=prompts(args.every),
        seeds=1,
        first_seed=args.seed,
        out=args.out,
        read=read_checked,
        particles=args.particles,
        judges=judges,
        max_steps=args.max_steps,
        sampling=Sampling(args.particles, args.steps, args.scale),
    )
    results, status = run_comparison(comparison, executor("launch:main", args.jobs))
    if args.json:
        given = vars(args) | {"json": str(args.json), "out": str(args.out)}
        about = {"arguments": given, "steps": comparison.steps, "nfe": results.nfe}
        own = {name: judge.accuracy for name, judge in judges.items()}
        written = {"about": about, "accuracy": to_json(results.accuracy), "judges": own}
        save_text(json.dumps(written, indent=1), args.json)
    return status
