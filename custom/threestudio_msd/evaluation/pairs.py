"""A method over every (object, colour) pair of the tiny world: those its prior has seen, those held out."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from ..tinyworld.judge import Judge
from ..tinyworld.world import Caption, all_pairs, parse_prompt
from .images import ImageRecord, read_images

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


def as_table(found: Mapping[str, Accuracy]) -> Table:
    """The accuracies of methods as a table for the terminal."""
    table = Table(title="right object and colour, per cent of images, mean and deviation over particles")
    for heading in ("method", "pairs", "images", *HEADS):
        table.add_column(heading)
    for method, kinds in found.items():
        for kind, heads in kinds.items():
            table.add_row(method, kind, str(heads["both"].images), *map(str, heads.values()))
    return table


def own_accuracy(judge: Judge) -> str:
    """What the judge itself is worth, to be printed under its verdicts."""
    own = ", ".join(f"{head} {100 * judge.accuracy[head]:.1f} %" for head in HEADS if head in judge.accuracy)
    return f"the judge's own accuracy on {judge.accuracy['renders']} fresh true renders: {own}"
