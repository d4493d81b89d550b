"""The noise of every method's gradient on a pretrained prior, at renders along a run of the first method.

python -m msd_lab variance --configs configs/{msd,sds,vsd,sdi}-tiny.yaml \\
    --prompts "a red mug" "a green car" --seeds 3 --out outputs/variance

A config is a file, or LABEL=FILE, or FILE,key=value,... with settings of its own, or a file that
lists methods. At the start, a third, two thirds and the end of the first method's runs,
every gradient is drawn --draws times: cosine of a draw to the mean of the others, deviation
relative to the mean's size, and the logarithm of signal over variance and cost (Eq. 17): the
paper's Table 3 on images. VSD's adapters are first trained on the renders of each place.
OUT/tables.md and OUT/variance.json hold what is printed; runs are kept.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, TypeAlias

import threestudio
import torch
import torch.nn.functional as F
from jaxtyping import Float
from omegaconf import DictConfig
from threestudio_msd.distillation.efficiency import efficiency
from threestudio_msd.errors import UserError
from threestudio_msd.files import save_text
from threestudio_msd.guidance.base import LatentGuidance
from threestudio_msd.guidance.view import View
from torch import Tensor

from launcher.checks.config import read_checked

from ..measure.images import Run, Snapshot
from ..report.table import Spread, Table
from .engine import Comparison, Failed, run_comparison
from .execution import Execute, executor, run_all, told
from .methods import Method, read_methods
from .prompts import read_prompts
from .runs import PlannedRun

PLACES = 4  # of a run's path at which gradients are drawn, evenly spread, the start and the end among them
SETTLING = 100  # steps that train a method's own networks on the renders of a place before it is measured


@dataclass(frozen=True)
class Quality:
    """The quality of one draw of a gradient, estimated from repeated draws.

    Attributes:
        cosine: Mean cosine between a draw and the mean of the others.
        deviation: Root of the mean variance, relative to the root mean square of the mean gradient.
        efficiency: Natural logarithm of Eq. 17, at the cost of `nfe`.
        nfe: Evaluations that a draw takes, every guidance branch counted.
    """

    cosine: float
    deviation: float
    efficiency: float
    nfe: float


def quality(g: Float[Tensor, "draws N ..."], nfe: float) -> Quality:
    """Estimate the quality of a gradient.

    Args:
        g: Three or more draws at every place y.
        nfe: Evaluations a draw.
    """
    g = g.flatten(2)
    others = (g.mean(0) * len(g) - g) / (len(g) - 1)
    cosine = float(F.cosine_similarity(g, others, dim=-1).mean())
    found = efficiency(g, nfe)
    deviation = math.exp(-(found + math.log(nfe)) / 2)  # Eq. 17 without its cost, and its root
    return Quality(cosine, deviation, found, nfe)


Qualities: TypeAlias = Mapping[str, Sequence[Sequence[Quality]]]
"""By method, by place, by seed."""


@dataclass(frozen=True, kw_only=True)
class VarianceComparison(Comparison):
    """Methods by the noise of their gradients; the first one's runs make the renders.

    Attributes:
        draws: Of every gradient at every render.

    Raises:
        UserError: A number is too small.
    """

    draws: int

    RESULTS: ClassVar[str] = "variance.json"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(draws=3)

    @cached_property
    def runs(self) -> list[PlannedRun]:
        first, root = self.methods[0], str(self.out.resolve())
        steps = int(self.settings(first).trainer.max_steps)
        return [
            PlannedRun(first, prompt, seed, steps, root, self.particles, frames=PLACES - 1)
            for seed in self.seed_range
            for prompt in self.prompts
        ]

    def check(self, configs: Sequence[DictConfig]) -> None:
        """Check the settings of all methods, of which only the first makes runs."""
        for method in self.methods:
            with told(method):
                kind = self.settings(method).system.guidance_type
                if not issubclass(threestudio.find(kind), LatentGuidance):
                    raise UserError(f"system.guidance_type: {kind}: not a guidance of this package")

    def first_runs(self) -> list[PlannedRun]:
        return self.runs[:1]

    def make(self, execute: Execute) -> tuple[Qualities, Failed]:
        """See `Comparison`.

        Raises:
            UserError: A run failed.
        """
        failed = run_all(self.runs, execute)
        if failed:
            raise UserError(f"{self.methods[0].label}: a run failed; {next(iter(failed.values()))}")
        paths = [
            [frames_along(Run(run.folder)) for run in self.runs if run.seed == seed]
            for seed in self.seed_range
        ]
        by_seed = {
            method.label: [self._at(method, seed, path) for seed, path in enumerate(paths)]
            for method in self.methods
        }
        return {label: [*map(list, zip(*found, strict=True))] for label, found in by_seed.items()}, failed

    def _at(self, method: Method, seed: int, paths: Sequence[Sequence[Snapshot]]) -> list[Quality]:
        """One method's quality by place, with one seed; prompts and particles together are the places y."""
        draws: list[list[Tensor]] = [[] for _ in range(PLACES)]
        nfe = [0.0] * PLACES
        for prompt, along in zip(self.prompts, paths, strict=True):
            settings = [f"seed={seed}", f"system.prompt_processor.prompt={prompt}", *method.overrides]
            gradients = Gradients(self.read(method.config, settings))
            for place, frame in enumerate(along):
                g, nfe[place] = gradients.at(frame, place / (PLACES - 1), self.draws)
                draws[place].append(g)
        return [quality(torch.cat(own, 1), cost) for own, cost in zip(draws, nfe, strict=True)]

    def report(self, results: Qualities) -> str:
        table = as_table(results).markdown()
        save_text(table + "\n", self.out / "tables.md")
        return f"{table}\n\n± is the deviation over {self.seeds} seeds, {self.draws} draws a render."


def frames_along(run: Run) -> list[Snapshot]:
    frames = run.frames()
    chosen = torch.linspace(0, len(frames) - 1, PLACES).round().int().tolist()
    return [frames[i] for i in chosen]


class Gradients:
    """Draws of one method's gradient under one prompt.

    Args:
        config: The method's configuration, resolved.
    """

    def __init__(self, config: DictConfig) -> None:
        system = config.system
        self.guidance: Any = threestudio.find(system.guidance_type)(system.guidance)
        self.prompt_utils = threestudio.find(system.prompt_processor_type)(system.prompt_processor)()
        self.steps = int(config.trainer.max_steps)
        self.rates = (system.optimizer.get("params") or {}).get("guidance")

    def at(self, frame: Snapshot, part: float, draws: int) -> tuple[Float[Tensor, "draws N ..."], float]:
        """Draw at a frame's renders as after a part of the optimisation; also returns the cost of a draw.

        Lambda is that which the frame's run had there, since an adaptive one depends on the run.
        """
        guidance = self.guidance
        guidance.update_step(0, round(part * (self.steps - 1)))
        if frame.bandwidth is not None and hasattr(guidance, "hold_bandwidth"):
            guidance.hold_bandwidth(frame.bandwidth)
        with torch.no_grad():
            y = guidance.encode(frame.images().to(guidance.device))
        self._settle(y)
        before = guidance.evaluations
        with torch.no_grad():
            g = [self._draw(one.expand(draws, *one.shape)) for one in y]
        return torch.stack(g, 1), (guidance.evaluations - before) / (draws * len(y))

    def _draw(self, y: Tensor) -> Tensor:
        return self.guidance.stateless(y, View.front(self.prompt_utils, y)).gradient.cpu()

    def _settle(self, y: Tensor) -> None:
        """Train the method's own networks on these renders, if it has any."""
        if self.rates is None:
            return
        trained = [p for p in self.guidance.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=self.rates.lr)
        last, view = self.guidance.step, View.front(self.prompt_utils, y, torch.arange(len(y)))
        for step in range(SETTLING):
            self.guidance.update_step(0, last + step)
            losses = self.guidance.further_losses(y, view)
            optimizer.zero_grad()
            sum(losses.values()).backward()
            optimizer.step()
        self.guidance.update_step(0, last)


def as_table(found: Qualities) -> Table:
    """Means and deviations over seeds, a row a method, three columns a place."""
    names = {"cosine": "cosine", "deviation": "relative deviation", "efficiency": "ln efficiency"}
    parts = [f"{round(100 * place / (PLACES - 1))} %" for place in range(PLACES)]
    head = ["method", "NFE a draw", *(f"{title}, {part}" for title in names.values() for part in parts)]
    rows = []
    for label, places in found.items():
        spreads = [Spread(tuple(getattr(one, name) for one in seeds)) for name in names for seeds in places]
        costs = dict.fromkeys(f"{seeds[0].nfe:g}" for seeds in places)
        rows.append([label, ", ".join(costs), *(spread.text(".2f") for spread in spreads)])
    return Table(head, rows)


def run(args: argparse.Namespace) -> int:
    comparison = VarianceComparison(
        methods=read_methods(args.configs),
        prompts=read_prompts(args.prompts),
        seeds=args.seeds,
        out=args.out,
        read=read_checked,
        particles=args.particles,
        draws=args.draws,
    )
    return run_comparison(comparison, executor("launch:main", args.jobs))[1]
