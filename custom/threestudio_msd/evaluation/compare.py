"""A comparison: methods on prompts with seeds at equal budgets, against DDIM samples and, where it is known, the truth."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf

from ..assets_path import is_tiny_prior
from ..errors import UserError
from ..files import save_text
from .curves import curve
from .evaluate import Extractors, ImageSet, described, figures, image_set
from .grid import Cell, Execute, Method, run_grid
from .images import Run
from .references import Sampling, render_prompts, sample_prompts
from .results import Failure, Results, Row, Table, to_json

PROBE_STEPS = 12
REFERENCE_SEEDS = 1000  # the first seed of reference images: never that of a run


@dataclass(frozen=True)
class Budget:
    """What every method may spend.

    Attributes:
        kind: `steps`, optimiser steps, or `nfe`, network function evaluations a particle.
        amount: How many.
    """

    kind: str
    amount: int

    @classmethod
    def parse(cls, text: str) -> Budget:
        """From `steps=N` or `nfe=N`.

        Raises:
            UserError: If it is neither.
        """
        kind, _, amount = text.partition("=")
        if kind not in ("steps", "nfe") or not (amount.isascii() and amount.isdigit()) or int(amount) < 1:
            raise UserError(f"--budget: expected steps=N or nfe=N with N >= 1, got {text!r}")
        return cls(kind, int(amount))

    def __str__(self) -> str:
        return f"{self.kind}={self.amount}"


@dataclass(frozen=True)
class Comparison:
    """What is compared with what.

    Attributes:
        methods: The rows.
        prompts: The prompts.
        seeds: How many seeds, from 0.
        budgets: One table each.
        out: Folder of the comparison.
        particles: Images a run.
        frames: Points of the curves.
        reference_particles: DDIM images, and true renders, a prompt.
        sampling: How DDIM images are sampled.

    Raises:
        UserError: Methods share a name, or a number is too small.
    """

    methods: Sequence[Method]
    prompts: Sequence[str]
    seeds: int
    budgets: Sequence[Budget]
    out: Path
    particles: int = 4
    frames: int = 8
    reference_particles: int = 16
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        labels = [method.label for method in self.methods]
        if len(set(labels)) < len(labels):
            raise UserError(f"--configs: methods need different names (LABEL=FILE), got {', '.join(labels)}")
        for name in ("seeds", "particles", "frames", "reference_particles"):
            if getattr(self, name) < 1:
                option = f"--{name.replace('_', '-')}"
                raise UserError(f"{option}: expected 1 or more, got {getattr(self, name)}")

    def brief(self) -> Comparison:
        """A first look: three prompts, one seed, the first budget."""
        return replace(self, prompts=self.prompts[:3], seeds=1, budgets=self.budgets[:1])

    def cell(self, method: Method, prompt: str, seed: int, steps: int) -> Cell:
        """One run; budgets that give a method the same number of steps share it."""
        return Cell(method, prompt, seed, steps, str(self.out / "runs"), self.particles, self.frames)

    def cells(self, steps: Mapping[str, int]) -> list[Cell]:
        """All runs of a budget that gives the methods these steps; methods innermost, so that a part of it has all of them."""
        return [
            self.cell(method, prompt, seed, steps[method.label])
            for seed in range(self.seeds)
            for prompt in self.prompts
            for method in self.methods
        ]


def check(comparison: Comparison, configs: Sequence[DictConfig], extractors: Extractors) -> None:
    """Find what would only show after the runs.

    Args:
        comparison: What is to be compared.
        configs: Configurations of the methods, in their order.
        extractors: Features of all figures.

    Raises:
        UserError: An extractor cannot read a prompt, or methods make images of different sizes.
    """
    for features in extractors.values():
        features.check_prompts(comparison.prompts)
    sizes = [
        tuple(OmegaConf.select(config, f"data.{side}") for side in ("width", "height")) for config in configs
    ]
    for method, size in zip(comparison.methods, sizes, strict=True):
        if size != sizes[0]:
            first = comparison.methods[0].label
            raise UserError(
                "--configs: images of one size are needed, but data.width, data.height are "
                f"{sizes[0][0]}, {sizes[0][1]} in {first} and {size[0]}, {size[1]} in {method.label}"
            )


def compare(comparison: Comparison, config: DictConfig, extractors: Extractors, execute: Execute) -> Results:
    """Run what has not been run yet, and measure; `results.json` in the comparison's folder holds what is found.

    Args:
        comparison: What to compare.
        config: Configuration whose prior is sampled for reference.
        extractors: Features of all figures.
        execute: See `grid.executor`.

    Raises:
        UserError: Another comparison is at work in this folder, or no step of a method could be counted.
    """
    with alone_in(comparison.out):
        failed: dict[Cell, str] = {}
        grids: dict[str, list[Cell]] = {}
        for budget in comparison.budgets:
            grids[str(budget)] = comparison.cells(_steps(comparison, budget, execute))
            failed |= run_grid(grids[str(budget)], execute)
        references, sampled = _references(comparison, config, extractors)
        results = Results(
            about=described(sampled, references, extractors, str(comparison.sampling)),
            ddim=figures(sampled, references),
            budgets={
                budget: _table(
                    comparison, [cell for cell in cells if cell not in failed], references, extractors
                )
                for budget, cells in grids.items()
            },
            failed=tuple(Failure(str(cell.folder), error) for cell, error in failed.items()),
        )
        save_text(json.dumps(to_json(results), indent=1) + "\n", comparison.out / "results.json")
    return results


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder's lock, which the system gives back when this process ends, however it does.

    Raises:
        UserError: Another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise UserError(f"--out: another comparison is at work in {folder}") from error


def _steps(comparison: Comparison, budget: Budget, execute: Execute) -> dict[str, int]:
    """Optimiser steps of every method; for a budget of evaluations, from a short run of each that counts them."""
    if budget.kind == "steps":
        return {method.label: budget.amount for method in comparison.methods}
    probes = [comparison.cell(method, comparison.prompts[0], 0, PROBE_STEPS) for method in comparison.methods]
    for cell, error in run_grid(probes, execute).items():
        raise UserError(f"{cell.method.label}: a step's evaluations could not be counted: {error}")
    return {
        cell.method.label: max(1, round(budget.amount / Run(cell.folder).nfe_per_step)) for cell in probes
    }


def _references(
    comparison: Comparison, config: DictConfig, extractors: Extractors
) -> tuple[dict[str, ImageSet], ImageSet]:
    """What every figure is measured against, by name, and DDIM images that are measured like a method's."""
    many, folder = comparison.reference_particles, comparison.out / "references"
    prompts, seeds = comparison.prompts, range(comparison.seeds)
    settings = replace(comparison.sampling, particles=many)
    references = {"ddim": sample_prompts(config, prompts, [REFERENCE_SEEDS], settings, folder / "ddim")}
    settings = replace(comparison.sampling, particles=comparison.particles)
    rows = sample_prompts(config, prompts, seeds, settings, comparison.out / "ddim")
    if is_tiny_prior(OmegaConf.select(config, "system.guidance.pretrained_model_name_or_path")):
        references["truth"] = render_prompts(prompts, [REFERENCE_SEEDS], many, folder / "truth")
    measured = {name: image_set(records, extractors) for name, records in references.items()}
    return measured, image_set(rows, extractors)


def _table(
    comparison: Comparison,
    cells: Sequence[Cell],
    references: Mapping[str, ImageSet],
    extractors: Extractors,
) -> Table:
    """The rows of the methods of which there is a finished cell."""
    table: Table = {}
    for method in comparison.methods:
        mine = [cell for cell in cells if cell.method == method]
        if mine:
            runs = [Run(cell.folder) for cell in mine]
            results = image_set([record for run in runs for record in run.records()], extractors)
            table[method.label] = Row(
                steps=mine[0].steps,
                nfe=float(np.mean([run.nfe for run in runs])),
                finished=len(mine),
                asked=len(comparison.prompts) * comparison.seeds,
                figures=figures(results, references),
                curve=curve(runs, references, extractors),
                command=shlex.join(["python", "launch.py", *mine[0].arguments]),
                config=(runs[0].folder / "configs" / "parsed.yaml").read_text(encoding="utf-8"),
            )
    return table
