"""One figure of a table, and how the jobs of a table become such figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from statistics import fmean, stdev

from .. import jobs
from ..jobs import Job
from .paper import PUBLISHED
from .problems import Problem


@dataclass(frozen=True)
class Measurement:
    """One figure of a table.

    Attributes:
        density: Density.
        denoiser: `ideal` or `learned`.
        guidance: `none`, `cfg` or `autoguidance`.
        method: Estimator or sampler.
        metric: What was measured.
        mean: Mean over the seeds; infinite where an estimator is deterministic (efficiency) or exact (oracle
            efficiency), minus infinite where it has no signal.
        std: Standard deviation over the seeds (n - 1); None for a single seed or an infinite mean.
        seeds: Number of seeds.
        paper: The paper's figure, where it has one.
        nfe: Denoiser evaluations a point: of an optimisation (Tables 1, 2), of an estimate (Table 3, bias).
    """

    density: str
    denoiser: str
    guidance: str
    method: str
    metric: str
    mean: float
    std: float | None
    seeds: int
    paper: float | None
    nfe: int

    @property
    def problem(self) -> Problem:
        """Its column."""
        return Problem(self.density, self.denoiser, self.guidance)


Values = dict[str, float]
"""What one job measured, by metric."""
Measured = tuple[Values, int]
"""The values, and the denoiser evaluations they stand for (`Measurement.nfe`)."""
Save = Callable[[list[Measurement]], None]


def gather(
    work: Sequence[tuple[Problem, str, Job]], title: str, save: Save | None = None
) -> list[Measurement]:
    """Run the jobs of a table; collect their seeds into measurements as they come.

    Args:
        work: Problem, method and job of every seed; a job returns `Measured`.
        title: Name of the progress bar.
        save: Told all measurements so far whenever a job has ended.

    Returns:
        Measurements in the order of `work`, whatever order the jobs end in.
    """
    rows = {job: (problem, method) for problem, method, job in work}
    gathered: dict[tuple[Problem, str], list[Measured]] = {}

    def collect(job: Job, result: Measured) -> None:
        gathered.setdefault(rows[job], []).append(result)
        if save:
            save(measurements())

    def measurements() -> list[Measurement]:
        order = dict.fromkeys(rows.values())
        return [found for key in order if key in gathered for found in averaged(*key, gathered[key])]

    jobs.run([job for _, _, job in work], title, on_result=collect)
    return measurements()


def averaged(problem: Problem, method: str, results: Sequence[Measured]) -> list[Measurement]:
    """Mean and deviation over the seeds of everything that was measured of a method on a problem."""
    nfe = results[0][1]
    found = []
    for metric in results[0][0]:
        values = sorted(measured[metric] for measured, _ in results)  # the same sum whoever ended first
        mean = fmean(values)
        std = stdev(values) if math.isfinite(mean) and len(values) > 1 else None
        paper = PUBLISHED.get((problem, method, metric))
        found.append(Measurement(*astuple(problem), method, metric, mean, std, len(values), paper, nfe))
    return found
