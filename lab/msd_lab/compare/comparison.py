"""A comparison: methods, prompts and seeds at equal budgets, against DDIM images and, where known, truth."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import inf, nan
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf
from threestudio_msd.assets_path import is_tiny_prior
from threestudio_msd.errors import UserError
from threestudio_msd.files import save_text

from ..measure.evaluate import Extractors, ImageSet, described, figures, image_set
from ..measure.images import Run
from ..measure.references import Sampling, render_prompts, sample_prompts
from .costs import KINDS, Costs, step_costs
from .curves import curve
from .grid import LOCK, Cell, Execute, Method, require_different_names, run_grid
from .results import Failure, Results, Row, Table, to_json

REFERENCE_SEEDS = 1000  # the first seed of reference images: never that of a run


@dataclass(frozen=True)
class Budget:
    """What every method may spend.

    Attributes:
        kind: One of `costs.KINDS`.
        amount: How much.
    """

    kind: str
    amount: float

    @classmethod
    def parse(cls, text: str) -> Budget:
        """From `steps=N`, `nfe=N`, `flop=N` (such as 2e11) or `seconds=N`.

        Raises:
            UserError: It is none.
        """
        kind, _, amount = text.partition("=")
        try:
            number = float(amount) if amount.isascii() else nan
        except ValueError:
            number = nan
        if kind not in KINDS or not 1 <= number < inf or (kind in ("steps", "nfe") and number % 1):
            kinds = " or ".join(f"{name}=N" for name in KINDS)
            raise UserError(f"--budget: expected {kinds} with N >= 1, got {text!r}")
        return cls(kind, number)

    def __str__(self) -> str:
        return f"{self.kind}={self.amount:.15g}"


@dataclass(frozen=True)
class Comparison:
    """What is compared with what.

    Attributes:
        methods: The rows.
        prompts: The prompts.
        seeds: How many seeds.
        budgets: One table each.
        out: Folder of the comparison.
        particles: Images a run.
        frames: Points of the curves.
        reference_particles: DDIM images, and true renders, a prompt.
        sampling: How DDIM images are sampled.
        first_seed: The first of the seeds.
        probes: Steps of the short runs that tell what a step costs; see `step_costs`.

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
    first_seed: int = 0
    probes: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        require_different_names(self.methods)
        for name in ("seeds", "particles", "frames", "reference_particles"):
            if getattr(self, name) < 1:
                option = f"--{name.replace('_', '-')}"
                raise UserError(f"{option}: expected 1 or more, got {getattr(self, name)}")
        if self.first_seed < 0 or REFERENCE_SEEDS in self.seed_range:
            raise UserError(
                f"--first-seed: expected 0 or more, and no seed {REFERENCE_SEEDS}, which references have, "
                f"got {self.first_seed}"
            )

    def brief(self) -> Comparison:
        """A first look: three prompts, one seed, the first budget."""
        return replace(self, prompts=self.prompts[:3], seeds=1, budgets=self.budgets[:1])

    @property
    def seed_range(self) -> range:
        """The seeds."""
        return range(self.first_seed, self.first_seed + self.seeds)

    def cell(self, method: Method, prompt: str, seed: int, steps: int) -> Cell:
        """One run; budgets that give a method the same number of steps share it."""
        return Cell(method, prompt, seed, steps, str(self.out / "runs"), self.particles, self.frames)

    def cells(self, steps: Mapping[str, int]) -> list[Cell]:
        """All runs of a budget that gives methods these steps; methods innermost: a part has all."""
        return [
            self.cell(method, prompt, seed, steps[method.label])
            for seed in self.seed_range
            for prompt in self.prompts
            for method in self.methods
            if method.label in steps
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
    """Run what has not been run yet, and measure; the folder's `results.json` holds what is found.

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
        costs = _costs(comparison, execute)
        for budget in comparison.budgets:
            steps, uncounted = _steps(comparison, budget, costs)
            grids[str(budget)] = comparison.cells(steps)
            failed |= uncounted
            failed |= run_grid(grids[str(budget)], execute)
        references, sampled = _references(comparison, config, extractors)
        results = Results(
            about=described(sampled, references, extractors, str(comparison.sampling)),
            ddim=figures(sampled, references),
            budgets={
                budget: _table(
                    comparison, [cell for cell in cells if cell not in failed], costs, references, extractors
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
        with FileLock(folder / LOCK, timeout=0):
            yield
    except Timeout as error:
        raise UserError(f"--out: another program is at work in {folder}") from error


def _costs(comparison: Comparison, execute: Execute) -> dict[str, Costs]:
    """What a step costs, from short runs on the first prompt; seconds only where a budget is of them."""
    prompt, seed = comparison.prompts[0], comparison.first_seed
    cells = [comparison.cell(method, prompt, seed, steps=1) for method in comparison.methods]
    timed = any(budget.kind == "seconds" for budget in comparison.budgets)
    return step_costs(cells, execute, timed, comparison.probes)


def _steps(
    comparison: Comparison, budget: Budget, costs: Mapping[str, Costs]
) -> tuple[dict[str, int], dict[Cell, str]]:
    """Every method's steps and, by a cell that stands for it, why a method's cannot be told; not if all."""
    found: dict[str, int] = {}
    failed: dict[Cell, str] = {}
    for method in comparison.methods:
        try:
            found[method.label] = costs[method.label].steps(budget.kind, budget.amount)
        except UserError as error:
            cell = comparison.cell(method, comparison.prompts[0], comparison.first_seed, steps=1)
            failed[cell] = f"--budget {budget}: {method.label}: {error}"
    if not found:
        raise UserError(next(iter(failed.values())))
    return found, failed


def _references(
    comparison: Comparison, config: DictConfig, extractors: Extractors
) -> tuple[dict[str, ImageSet], ImageSet]:
    """What every figure is measured against, by name, and DDIM images that are measured like a method's."""
    many, folder = comparison.reference_particles, comparison.out / "references"
    prompts, seeds = comparison.prompts, comparison.seed_range
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
    costs: Mapping[str, Costs],
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
            taken = float(np.mean([run.steps for run in runs]))
            table[method.label] = Row(
                steps=mine[0].steps,
                nfe=float(np.mean([run.nfe for run in runs])),
                finished=len(mine),
                asked=len(comparison.prompts) * comparison.seeds,
                figures=figures(results, references),
                curve=curve(runs, references, extractors),
                command=shlex.join(["python", "launch.py", *mine[0].arguments]),
                flop=costs[method.label].flop * taken,
                taken=taken,
                seconds=float(np.mean([cell.spent("seconds") for cell in mine])),
                config=(runs[0].folder / "configs" / "parsed.yaml").read_text(encoding="utf-8"),
            )
    return table
