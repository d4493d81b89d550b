"""A method over every (object, colour) pair of the tiny world: those its prior has seen, those held out."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig
from rich.table import Table
from threestudio_msd.errors import UserError

from ..measure.images import ImageRecord, Run, read_images
from ..measure.references import Sampling, sample_prompts
from ..tinyworld.judge import Judge
from ..tinyworld.world import Caption, all_pairs, parse_prompt
from .comparison import alone_in
from .grid import DDIM, Cell, Execute, Method, run_grid

HEADS = ("object", "colour", "both")


@dataclass(frozen=True)
class Share:
    """Images that show what was asked.

    Attributes:
        mean: Their share.
        std: Deviation over particles, each of which is one repetition of all pairs; None for a single one.
        images: Out of how many.
    """

    mean: float
    std: float | None
    images: int

    @classmethod
    def of(cls, hits: Mapping[int, Sequence[bool]]) -> Share:
        """From every particle's images."""
        means, every = (
            [statistics.mean(own) for own in hits.values()],
            [hit for own in hits.values() for hit in own],
        )
        deviation = statistics.stdev(means) if len(means) > 1 else None
        return cls(sum(every) / len(every), deviation, len(every))

    def __str__(self) -> str:
        """In per cent."""
        return f"{100 * self.mean:.1f}" + ("" if self.std is None else f" ± {100 * self.std:.1f}")


Accuracy = dict[str, dict[str, Share]]
"""Shares by kind of pair, `seen` or `held out`, and by head."""


def prompts(every: int = 1) -> list[str]:
    """One for every pair, or for every n-th."""
    return [Caption(*pair).text for pair in all_pairs()[::every]]


def accuracy(records: Sequence[ImageRecord], judge: Judge) -> Accuracy:
    """How many images a judge finds to show what their prompts ask for.

    Raises:
        UserError: An image cannot be read.
    """
    asked = [parse_prompt(record.prompt) for record in records]
    right = judge.classify(read_images(records)).right(asked)
    hits: dict[str, dict[str, dict[int, list[bool]]]] = {}
    for i, (record, caption) in enumerate(zip(records, asked, strict=True)):
        kind = hits.setdefault(
            "held out" if caption.held_out else "seen", {head: defaultdict(list) for head in HEADS}
        )
        for head in HEADS:
            kind[head][record.particle].append(right[head][i])
    return {kind: {head: Share.of(own) for head, own in heads.items()} for kind, heads in hits.items()}


@dataclass(frozen=True)
class Verdict:
    """What judges find of a method and of DDIM samples of its prior.

    Attributes:
        accuracy: By the method's label, and DDIM's, and by the judge's name.
        nfe: Network function evaluations that an image took.
        failed: How many runs failed; they are left out.
    """

    accuracy: dict[str, dict[str, Accuracy]]
    nfe: float
    failed: int


@dataclass(frozen=True)
class Trial:
    """A method to be judged on pairs.

    Attributes:
        method: What runs.
        config: Its configuration, whose prior is sampled too.
        prompts: The pairs.
        seed: Of all runs and samples.
        steps: Optimiser steps of a run.
        sampling: How the prior is sampled; `particles` are those of a run too.
        out: Folder; finished runs in it are kept.
    """

    method: Method
    config: DictConfig
    prompts: Sequence[str]
    seed: int
    steps: int
    sampling: Sampling
    out: Path

    def cells(self) -> list[Cell]:
        """A run a pair."""
        root = str((self.out / f"{self.sampling.particles}x{self.steps}").resolve())
        settings = {"particles": self.sampling.particles, "frames": 1}
        return [Cell(self.method, prompt, self.seed, self.steps, root, **settings) for prompt in self.prompts]

    def run(self, execute: Execute, judges: Mapping[str, Judge]) -> Verdict:
        """Run what has not been run yet, sample the prior, and judge.

        Args:
            execute: See `grid.executor`.
            judges: Who looks, by name.

        Raises:
            UserError: All runs failed, or others are at work in the folder.
        """
        cells = self.cells()
        with alone_in(self.out):
            failed = run_grid(cells, execute)
            if len(failed) == len(cells):
                raise UserError(f"{self.method.label}: every run failed; {next(iter(failed.values()))}")
            samples = sample_prompts(self.config, self.prompts, [self.seed], self.sampling, self.out / "ddim")
        runs = [Run(cell.folder) for cell in cells if cell not in failed]
        shown = {self.method.label: [record for run in runs for record in run.records()], DDIM: samples}
        found = {
            label: {name: accuracy(records, judge) for name, judge in judges.items()}
            for label, records in shown.items()
        }
        return Verdict(found, max(run.nfe for run in runs), len(failed))


def as_table(found: Mapping[str, Mapping[str, Accuracy]]) -> Table:
    """The accuracies of methods, every judge's beside the other's, as a table for the terminal."""
    table = Table(title="right object and colour, per cent of images, mean and deviation over particles")
    judges = list(next(iter(found.values())))
    for heading in ("method", "pairs", "images", *(f"{head}, {name}" for head in HEADS for name in judges)):
        table.add_column(heading)
    for method, read in found.items():
        for kind, heads in read[judges[0]].items():
            shares = [str(read[name][kind][head]) for head in HEADS for name in judges]
            table.add_row(method, kind, str(heads["both"].images), *shares)
    return table


def own_accuracy(judge: Judge) -> str:
    """What a judge itself is worth, to be printed under its verdicts."""
    own = ", ".join(f"{head} {100 * judge.accuracy[head]:.1f} %" for head in HEADS if head in judge.accuracy)
    return f"its own accuracy on {judge.accuracy['renders']} fresh true renders: {own}"
