"""Images compared: methods at equal budgets, against DDIM images and, in the tiny world, the truth.

python -m msd_lab compare --configs configs/msd-tiny.yaml configs/sds-tiny.yaml --prompts "a red mug" \\
    --seeds 3 --budget steps=80 nfe=320 --out outputs/compare

A config is a file, or LABEL=FILE, or FILE,key=value,... with settings of its own, or a file that
lists methods. Finished runs are kept: the same command resumes where it stopped.
OUT/index.html is the report, OUT/results.json its figures, OUT/tables.md its tables,
OUT/sheet-BUDGET.png its pictures.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from omegaconf import DictConfig, OmegaConf
from threestudio_msd.assets_path import is_tiny_prior
from threestudio_msd.errors import UserError

from launcher.checks.config import read_checked

from ..measure.evaluate import Extractors, ImageSet, described, figures, image_set
from ..measure.features import read_features
from ..measure.images import Run
from ..measure.references import Sampling, render_prompts, sample_prompts
from .costs import Budget, Costs, step_costs
from .curves import curve
from .engine import Comparison, Failed, run_comparison
from .execution import Execute, executor, run_all
from .methods import Method, read_methods
from .prompts import read_prompts
from .results import Failure, Results, Row, Rows
from .runs import PlannedRun

REFERENCE_SEEDS = 1000  # the first seed of reference images: never that of a run


@dataclass(frozen=True, kw_only=True)
class ImageComparison(Comparison):
    """Methods at equal budgets, by the images that they end with.

    Attributes:
        budgets: One table each.
        extractors: Features of all figures.
        frames: Points of the curves.
        reference_particles: DDIM images, and true renders, a prompt.
        sampling: How DDIM images are sampled.
        probes: Steps of the short runs that measure what a step costs; see `step_costs`.
        title: The page's.

    Raises:
        UserError: A number is too small, or a run would have the references' seed.
    """

    budgets: Sequence[Budget]
    extractors: Extractors
    frames: int = 8
    reference_particles: int = 16
    sampling: Sampling = field(default_factory=Sampling)
    probes: tuple[int, int] | None = None
    title: str = "Comparison"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(frames=1, reference_particles=1)
        if REFERENCE_SEEDS in self.seed_range:
            raise UserError(
                f"--first-seed: expected no seed {REFERENCE_SEEDS}, which references have, among the runs'"
            )

    def brief(self) -> ImageComparison:
        return replace(self, prompts=self.prompts[:3], seeds=1, budgets=self.budgets[:1])

    def planned(self, method: Method, prompt: str, seed: int, steps: int) -> PlannedRun:
        """One run; budgets that give a method the same number of steps share it."""
        return PlannedRun(method, prompt, seed, steps, str(self.out / "runs"), self.particles, self.frames)

    def first_runs(self) -> list[PlannedRun]:
        return [self.planned(method, self.prompts[0], self.first_seed, steps=1) for method in self.methods]

    def check(self, configs: Sequence[DictConfig]) -> None:
        """Check that the extractors can read all prompts and that images have one size."""
        for features in self.extractors.values():
            features.check_prompts(self.prompts)
        sizes = [
            tuple(OmegaConf.select(config, f"data.{side}") for side in ("width", "height"))
            for config in configs
        ]
        for method, size in zip(self.methods, sizes, strict=True):
            if size != sizes[0]:
                raise UserError(
                    "--configs: images of one size are needed, but data.width, data.height are "
                    f"{sizes[0][0]}, {sizes[0][1]} in {self.methods[0].label} and {size[0]}, {size[1]} in "
                    f"{method.label}"
                )

    def make(self, execute: Execute) -> tuple[Results, Failed]:
        """See `Comparison`; the prior of the first method is sampled for reference.

        Raises:
            UserError: No method's steps could be counted.
        """
        timed = any(budget.kind == "seconds" for budget in self.budgets)
        costs = step_costs(self.first_runs(), execute, timed, self.probes)
        failed: Failed = {}
        planned: dict[str, list[PlannedRun]] = {}
        for budget in self.budgets:
            planned[str(budget)], uncounted = self._at(budget, costs)
            failed |= uncounted | run_all(planned[str(budget)], execute)
        references, sampled, renders = self._references()
        results = Results(
            about=described(sampled, references, self.extractors, str(self.sampling)),
            ddim=figures(sampled, references),
            budgets={
                budget: self._rows([run for run in runs if run not in failed], costs, references)
                for budget, runs in planned.items()
            },
            failed=tuple(Failure(str(run.folder), error) for run, error in failed.items()),
            truth=figures(renders, references) if renders else {},
        )
        return results, failed

    def _at(self, budget: Budget, costs: Mapping[str, Costs]) -> tuple[list[PlannedRun], Failed]:
        """All runs of a budget; and the first runs of the methods whose steps cannot be counted."""
        steps: dict[Method, int] = {}
        failed: Failed = {}
        for first in self.first_runs():
            label = first.method.label
            try:
                steps[first.method] = costs[label].steps(budget)
            except UserError as error:
                failed[first] = f"--budget {budget}: {label}: {error}"
        if not steps:
            raise UserError(next(iter(failed.values())))
        # methods innermost, so that an interrupted comparison has whole rows
        runs = [
            self.planned(method, prompt, seed, steps[method])
            for seed in self.seed_range
            for prompt in self.prompts
            for method in steps
        ]
        return runs, failed

    def _references(self) -> tuple[dict[str, ImageSet], ImageSet, ImageSet | None]:
        """The references by name; DDIM images, and true renders if any, that are measured like a method's."""
        config, folder = self.settings(self.methods[0]), self.out / "references"
        many, reference_seeds = self.reference_particles, [REFERENCE_SEEDS]
        more, few = replace(self.sampling, particles=many), replace(self.sampling, particles=self.particles)
        references = {"ddim": sample_prompts(config, self.prompts, reference_seeds, more, folder / "ddim")}
        rows = sample_prompts(config, self.prompts, self.seed_range, few, self.out / "ddim")
        renders = None
        if is_tiny_prior(OmegaConf.select(config, "system.guidance.pretrained_model_name_or_path")):
            references["truth"] = render_prompts(self.prompts, reference_seeds, many, folder / "truth")
            own = render_prompts(self.prompts, self.seed_range, self.particles, self.out / "truth")
            renders = image_set(own, self.extractors)
        measured = {name: image_set(records, self.extractors) for name, records in references.items()}
        return measured, image_set(rows, self.extractors), renders

    def _rows(
        self, finished: Sequence[PlannedRun], costs: Mapping[str, Costs], references: Mapping[str, ImageSet]
    ) -> Rows:
        mine = {method.label: [run for run in finished if run.method == method] for method in self.methods}
        return {label: self._row(own, costs[label], references) for label, own in mine.items() if own}

    def _row(self, own: Sequence[PlannedRun], costs: Costs, references: Mapping[str, ImageSet]) -> Row:
        runs = [Run(run.folder) for run in own]
        images = image_set([record for run in runs for record in run.records()], self.extractors)
        taken = float(np.mean([run.steps for run in runs]))
        return Row(
            steps=own[0].steps,
            nfe=float(np.mean([run.nfe for run in runs])),
            finished=len(own),
            asked=len(self.prompts) * self.seeds,
            figures=figures(images, references),
            curve=curve(runs, references, self.extractors),
            command=shlex.join(["python", "launch.py", *own[0].arguments]),
            flop=costs.flop * taken,
            taken=taken,
            seconds=float(np.mean([run.done.seconds for run in own])),
            config=(runs[0].folder / "configs" / "parsed.yaml").read_text(encoding="utf-8"),
        )

    def report(self, results: Results) -> str:
        from ..report.image import write_report  # matplotlib

        page = write_report(self, results)
        return f"{(self.out / 'tables.md').read_text(encoding='utf-8')}\n{page}"


def from_options(args: argparse.Namespace, kind: type[ImageComparison] = ImageComparison) -> ImageComparison:
    """The comparison that a command line describes.

    Raises:
        UserError: An option is wrong.
    """
    budgets = [Budget.parse(text) for text in args.budget]
    if len(set(budgets)) < len(budgets):
        raise UserError(f"--budget: given twice: {' '.join(args.budget)}")
    comparison = kind(
        methods=read_methods(args.configs),
        prompts=read_prompts(args.prompts),
        seeds=args.seeds,
        budgets=budgets,
        out=args.out.resolve(),
        read=read_checked,
        particles=args.particles,
        frames=args.frames,
        reference_particles=args.reference_particles,
        sampling=Sampling(args.particles, args.steps, args.scale),
        first_seed=args.first_seed,
        title=args.title,
        extractors=read_features(args.features),
    )
    return comparison.brief() if args.quick else comparison


def run(args: argparse.Namespace) -> int:
    return run_comparison(from_options(args), executor("launch:main", args.jobs, args.ray))[1]
