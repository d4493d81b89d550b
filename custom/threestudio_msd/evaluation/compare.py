"""A comparison: methods on prompts with seeds at equal budgets, against DDIM samples and, where it is known, the truth."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig

from .evaluate import ImageSet, as_json, described, figures, image_set, write_json
from .features import Features
from .grid import Cell, Method, Outcome, calls_per_step, run_grid
from .images import ImageRecord, Run
from .metrics import Spread, frechet_distance
from .references import Sampling, render_prompts, sample_prompts, uses_tiny_prior

PROBE_STEPS = 12
REFERENCE_SEEDS = 1000  # the first seed of reference images: never that of a run
DDIM = "DDIM"


@dataclass(frozen=True)
class Budget:
    """What every method may spend: `steps`, optimiser steps, or `calls`, network evaluations a particle.

    Attributes:
        kind: `steps` or `calls`.
        amount: How many.
    """

    kind: str
    amount: int

    @classmethod
    def parse(cls, text: str) -> Budget:
        """From `steps=N` or `calls=N`.

        Raises:
            ValueError: If it is neither.
        """
        kind, _, amount = text.partition("=")
        if kind not in ("steps", "calls") or not amount.isdigit() or int(amount) < 1:
            raise ValueError(f"--budget: expected steps=N or calls=N with N >= 1, got {text!r}")
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
            raise ValueError(f"methods need different names, got {', '.join(labels)}")
        if self.seeds < 1:
            raise ValueError(f"at least one seed is needed, got {self.seeds}")

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


Execute = Callable[[Sequence[Cell]], Iterator[Outcome]]


def compare(
    comparison: Comparison, config: DictConfig, features: Features, execute: Execute
) -> dict[str, object]:
    """Run what has not been run yet, and measure.

    Args:
        comparison: What to compare.
        config: Configuration whose prior is sampled for reference.
        features: Features of all figures.
        execute: See `run_grid`.

    Returns:
        What `results.json` in the comparison's folder holds: see `measure`.
    """
    failed: dict[Cell, str] = {}
    grids: dict[str, list[Cell]] = {}
    for budget in comparison.budgets:
        steps = _steps(comparison, budget, execute)
        grids[str(budget)] = comparison.cells(steps)
        failed |= run_grid(grids[str(budget)], execute)
    references, sampled = _references(comparison, config, features)
    results = measure(comparison, grids, references, sampled, features)
    results["failed"] = [{"cell": str(cell.folder), "error": error} for cell, error in failed.items()]
    write_json(comparison.out / "results.json", results)
    return results


def _steps(comparison: Comparison, budget: Budget, execute: Execute) -> dict[str, int]:
    """Optimiser steps of every method; for a budget of calls, from a short run of each that counts them."""
    if budget.kind == "steps":
        return {method.label: budget.amount for method in comparison.methods}
    probes = [comparison.cell(method, comparison.prompts[0], 0, PROBE_STEPS) for method in comparison.methods]
    failed = run_grid(probes, execute)
    if failed:
        raise ValueError(
            f"no calls per step could be counted for {', '.join(cell.method.label for cell in failed)}"
        )
    return {
        cell.method.label: max(1, round(budget.amount / calls_per_step(Run(cell.folder)))) for cell in probes
    }


def _references(
    comparison: Comparison, config: DictConfig, features: Features
) -> tuple[dict[str, ImageSet], ImageSet]:
    """What every figure is measured against, by name, and DDIM images that are measured like a method's."""
    own, many = comparison.sampling, comparison.reference_particles
    reference = Sampling(many, own.steps, own.scale, own.solver)
    ddim = sample_prompts(
        config, comparison.prompts, [REFERENCE_SEEDS], reference, comparison.out / "references" / "ddim"
    )
    sampled = Sampling(comparison.particles, own.steps, own.scale, own.solver)
    rows = sample_prompts(
        config, comparison.prompts, range(comparison.seeds), sampled, comparison.out / "ddim"
    )
    references = {"ddim": image_set(ddim, features)}
    if uses_tiny_prior(config):
        truth = render_prompts(
            comparison.prompts, [REFERENCE_SEEDS], many, comparison.out / "references" / "truth"
        )
        references["truth"] = image_set(truth, features)
    return references, image_set(rows, features)


def measure(
    comparison: Comparison,
    grids: Mapping[str, Sequence[Cell]],
    references: Mapping[str, ImageSet],
    sampled: ImageSet,
    features: Features,
) -> dict[str, object]:
    """All figures of a finished comparison.

    Returns:
        `about`, `ddim` (figures), and by budget the methods' `figures`, `curves`, `steps`, `calls` (of one
        particle), `command`, `config`, `finished` and `asked` runs.
    """
    tables = {}
    for budget, cells in grids.items():
        rows = {}
        for method in comparison.methods:
            mine = [cell for cell in cells if cell.method == method]
            runs = [Run(cell.folder) for cell in mine if cell.finished]
            if runs:
                rows[method.label] = {**_measured(runs, references, features), **_described_runs(mine, runs)}
        tables[budget] = rows
    return {
        "about": {**described(sampled, references, features), "sampling": str(comparison.sampling)},
        "ddim": as_json(figures(sampled, references)),
        "budgets": tables,
    }


def _described_runs(cells: Sequence[Cell], runs: Sequence[Run]) -> dict[str, object]:
    return {
        "steps": cells[0].steps,
        "calls": float(np.mean([run.total_calls() for run in runs])),
        "finished": len(runs),
        "asked": len(cells),
        "command": shlex.join(["python", "launch.py", *cells[0].arguments]),
        "config": (runs[0].folder / "configs" / "parsed.yaml").read_text(encoding="utf-8"),
    }


def _measured(
    runs: Sequence[Run], references: Mapping[str, ImageSet], features: Features
) -> dict[str, object]:
    results = image_set([record for run in runs for record in run.records()], features)
    return {"figures": as_json(figures(results, references)), "curves": curves(runs, references, features)}


def curves(
    runs: Sequence[Run], references: Mapping[str, ImageSet], features: Features
) -> list[dict[str, object]]:
    """Quality along the path: at every frame `step`, `calls`, and by seed the Fréchet distances and the alignment."""
    paths = [run.frames() for run in runs]
    points = []
    for at in range(min(map(len, paths))):
        frames = [path[at] for path in paths]
        records = [
            ImageRecord(run.prompt, run.seed, particle, run.folder)
            for run, frame in zip(runs, frames, strict=True)
            for particle in range(len(frame.images))
        ]
        shown = image_set(records, features, torch.cat([frame.images for frame in frames]))
        seeds = [shown.of_seed(seed) for seed in shown.seeds]
        found = {
            f"frechet_{name}": Spread(
                tuple(frechet_distance(reference.features, one.features) for one in seeds)
            )
            for name, reference in references.items()
        }
        found |= {
            name: Spread(tuple(float(one.alignment[name].mean()) for one in seeds))
            for name in shown.alignment
        }
        calls = float(np.mean([frame.calls for frame in frames]))
        points.append({"step": frames[0].step, "calls": calls, **as_json(found)})
    return points


def calls_to_reach(curve: Sequence[Mapping[str, object]], figure: str, level: float) -> float | None:
    """Network calls until a curve's mean of a figure is at most `level`, linear between points; None if it never is."""
    before: tuple[float, float] | None = None
    for point in curve:
        calls, value = float(point["calls"]), float(point[figure]["mean"])
        if value <= level:
            if before is None or value == before[1]:
                return calls
            fraction = (before[1] - level) / (before[1] - value)
            return before[0] + fraction * (calls - before[0])
        before = (calls, value)
    return None


def convergence(
    table: Mapping[str, Mapping[str, object]], ours: str, figure: str
) -> dict[str, object] | None:
    """How soon `ours` reaches the best other method's final figure, in network calls and as a ratio to those it spent.

    Args:
        table: A budget's methods.
        ours: The method in question.
        figure: A figure of which less is better.

    Returns:
        The best other method's `method`, `level` and `calls`, and ours: `reached`, calls, and `ratio`, both
        None if it never does; None where there is nothing to compare.
    """
    others = {label: row for label, row in table.items() if label != ours}
    if ours not in table or not others:
        return None
    best = min(others, key=lambda label: others[label]["figures"][figure]["mean"])
    level, spent = others[best]["figures"][figure]["mean"], others[best]["calls"]
    reached = calls_to_reach(table[ours]["curves"], figure, level)
    ratio = None if reached is None else reached / spent
    return {"method": best, "level": level, "calls": spent, "reached": reached, "ratio": ratio}
