"""What all comparisons share: checks, one lock a folder, results as JSON, a report, an exit status.

A kind of comparison (`image`, `scene`, `pairs`, `variance`) says which runs it needs, what it measures of the
finished ones, and how it reports that. Finished runs are kept: the same command resumes where it stopped.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from omegaconf import DictConfig
from threestudio_msd.errors import UserError
from threestudio_msd.files import save_text

from launcher.lock import alone_in

from .execution import Execute, Read, check_runs
from .methods import Method
from .results import to_json
from .runs import PlannedRun

Failed: TypeAlias = dict[PlannedRun, str]
"""Runs that failed, and their errors."""


@dataclass(frozen=True, kw_only=True)
class Comparison(ABC):
    """Methods on prompts with seeds, of one kind.

    Attributes:
        methods: The rows.
        prompts: The prompts.
        seeds: How many seeds.
        out: The comparison's folder.
        read: Reads and checks a config with overrides.
        first_seed: The first of the seeds.
        particles: Images a run.

    Raises:
        UserError: A number is too small.
    """

    methods: Sequence[Method]
    prompts: Sequence[str]
    seeds: int
    out: Path
    read: Read
    first_seed: int = 0
    particles: int = 4

    RESULTS: ClassVar[str] = "results.json"

    def __post_init__(self) -> None:
        self.require(seeds=1, particles=1, first_seed=0)

    def require(self, **least: int) -> None:
        """Check that numbers are not below their least values."""
        for name, value in least.items():
            if getattr(self, name) < value:
                option = f"--{name.replace('_', '-')}"
                raise UserError(f"{option}: expected {value} or more, got {getattr(self, name)}")

    @property
    def seed_range(self) -> range:
        return range(self.first_seed, self.first_seed + self.seeds)

    def settings(self, method: Method) -> DictConfig:
        """A method's config on the first prompt, read and checked."""
        prompt = f"system.prompt_processor.prompt={self.prompts[0]}"
        return self.read(method.config, [prompt, *method.overrides])

    @abstractmethod
    def first_runs(self) -> list[PlannedRun]:
        """One run of every method, whose settings are checked."""

    def check(self, configs: Sequence[DictConfig]) -> None:  # noqa: B027  (a hook)
        """Hook: check what would otherwise only show after the runs; `configs` are the first runs'."""

    @abstractmethod
    def make(self, execute: Execute) -> tuple[Any, Failed]:
        """Make the runs that are missing and measure all; returns typed results and the failed runs."""

    @abstractmethod
    def report(self, results: Any) -> str:
        """Write the report; returns what is printed of it."""


def compare(comparison: Comparison, execute: Execute) -> tuple[Any, Failed]:
    """Make and measure a comparison, alone in its folder, and write its results there.

    Raises:
        UserError: Another program is at work in the folder, or see the kind's `make`.
    """
    with alone_in(comparison.out):
        results, failed = comparison.make(execute)
        save_text(json.dumps(to_json(results), indent=1) + "\n", comparison.out / comparison.RESULTS)
    return results, failed


def run_comparison(comparison: Comparison, execute: Execute) -> tuple[Any, int]:
    """Check, make, measure, report and print a comparison.

    Returns:
        The results, and the exit status: 1 if a run failed.

    Raises:
        UserError: A setting is wrong; no run was made.
    """
    comparison.check(check_runs(comparison.first_runs(), comparison.read))
    results, failed = compare(comparison, execute)
    print(f"\n{comparison.report(results)}")
    return results, int(bool(failed))
