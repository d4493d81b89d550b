"""How noisy gradients are on a pretrained prior, at renders along a run: the paper's Table 3 on images."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from omegaconf import DictConfig
from threestudio_msd.distillation.efficiency import efficiency
from threestudio_msd.errors import UserError
from threestudio_msd.guidance.base import LatentGuidance
from threestudio_msd.guidance.view import View
from torch import Tensor

from ..markdown import markdown_table
from ..measure.images import Run, Snapshot
from ..report.table import Spread
from .comparison import alone_in
from .grid import Cell, Execute, Method, require_different_names, run_grid

PLACES = 4  # of a run's path at which gradients are drawn, evenly spread, the start and the end among them
SETTLING = 100  # steps that train a method's own networks on the renders of a place before it is measured

Read = Callable[[str, list[str]], DictConfig]
"""Reads and checks a config with overrides."""


@dataclass(frozen=True)
class Quality:
    """What repeated draws of a gradient say of one draw.

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
    """The quality of a gradient.

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


@dataclass(frozen=True)
class Study:
    """Whose gradients are drawn where.

    Attributes:
        methods: The rows; the first one's runs make the renders.
        prompts: Prompts.
        seeds: How many; runs and draws have seeds 0, 1, ....
        particles: Renders a run.
        draws: Of every gradient at every render.
        out: Folder of the runs, which are kept.

    Raises:
        UserError: There would be nothing to measure.
    """

    methods: Sequence[Method]
    prompts: Sequence[str]
    seeds: int
    particles: int
    draws: int
    out: Path

    def __post_init__(self) -> None:
        for name, least in (("seeds", 1), ("particles", 1), ("draws", 3)):
            if getattr(self, name) < least:
                raise UserError(f"--{name}: expected {least} or more, got {getattr(self, name)}")
        require_different_names(self.methods)

    def cells(self, read: Read) -> list[Cell]:
        """The runs whose renders are looked at, in the order of seeds."""
        first, root = self.methods[0], str(self.out.resolve())
        prompt = f"system.prompt_processor.prompt={self.prompts[0]}"
        steps = int(read(first.config, [prompt, *first.overrides]).trainer.max_steps)
        return [
            Cell(first, prompt, seed, steps, root, self.particles, frames=PLACES - 1)
            for seed in range(self.seeds)
            for prompt in self.prompts
        ]


Found = Mapping[str, Sequence[Sequence[Quality]]]
"""By method, by place, by seed."""


def measure(study: Study, execute: Execute, read: Read) -> Found:
    """Make the renders that are not there yet, and draw every method's gradients at them.

    Raises:
        UserError: A run failed, or other programs are at work in the folder.
    """
    cells = study.cells(read)
    with alone_in(study.out):
        failed = run_grid(cells, execute)
    if failed:
        raise UserError(f"{study.methods[0].label}: a run failed; {next(iter(failed.values()))}")
    paths = [
        [frames_along(Run(cell.folder)) for cell in cells if cell.seed == seed] for seed in range(study.seeds)
    ]
    return {
        method.label: [list(of_place) for of_place in zip(*_by_seed(study, method, read, paths), strict=True)]
        for method in study.methods
    }


def frames_along(run: Run) -> list[Snapshot]:
    """`PLACES` of a run's frames."""
    frames = run.frames()
    chosen = torch.linspace(0, len(frames) - 1, PLACES).round().int().tolist()
    return [frames[i] for i in chosen]


def _by_seed(
    study: Study, method: Method, read: Read, paths: Sequence[Sequence[Sequence[Snapshot]]]
) -> list[list[Quality]]:
    """One method's quality, by seed and place; prompts and particles are together the places y."""
    found = []
    for seed, runs in enumerate(paths):
        draws: list[list[Tensor]] = [[] for _ in range(PLACES)]
        nfe = [0.0] * PLACES
        for prompt, along in zip(study.prompts, runs, strict=True):
            settings = [f"seed={seed}", f"system.prompt_processor.prompt={prompt}", *method.overrides]
            gradients = Gradients(read(method.config, settings))
            for place, frame in enumerate(along):
                g, nfe[place] = gradients.at(frame, place / (PLACES - 1), study.draws)
                draws[place].append(g)
        found.append([quality(torch.cat(own, 1), cost) for own, cost in zip(draws, nfe, strict=True)])
    return found


class Gradients:
    """Draws of one method's gradient under one prompt.

    Args:
        config: The method's configuration, resolved.

    Raises:
        UserError: Its guidance is not one of this package.
    """

    def __init__(self, config: DictConfig) -> None:
        import threestudio

        system = config.system
        self.guidance: Any = threestudio.find(system.guidance_type)(system.guidance)
        if not isinstance(self.guidance, LatentGuidance):
            raise UserError(f"system.guidance_type: {system.guidance_type}: not a guidance of this package")
        self.prompt_utils = threestudio.find(system.prompt_processor_type)(system.prompt_processor)()
        self.steps = int(config.trainer.max_steps)
        self.rates = (system.optimizer.get("params") or {}).get("guidance")

    def at(self, frame: Snapshot, part: float, draws: int) -> tuple[Float[Tensor, "draws N ..."], float]:
        """Draw at a frame's renders as after a part of the optimisation; and what a draw cost.

        Lambda is that which the frame's run had there, as an adaptive one is of a run and not of a time.
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
        optimizer = torch.optim.AdamW(
            [p for p in self.guidance.parameters() if p.requires_grad], lr=self.rates.lr
        )
        last, view = self.guidance.step, View.front(self.prompt_utils, y, torch.arange(len(y)))
        for step in range(SETTLING):
            self.guidance.update_step(0, last + step)
            losses = self.guidance.further_losses(y, view)
            optimizer.zero_grad()
            sum(losses.values()).backward()
            optimizer.step()
        self.guidance.update_step(0, last)


def as_markdown(found: Found) -> str:
    """Means and deviations over seeds, a row a method, three columns a place."""
    names = {"cosine": "cosine", "deviation": "relative deviation", "efficiency": "ln efficiency"}
    parts = [f"{round(100 * place / (PLACES - 1))} %" for place in range(PLACES)]
    head = ["method", "NFE a draw", *(f"{title}, {part}" for title in names.values() for part in parts)]
    rows = []
    for label, places in found.items():
        cells = [spread_of([getattr(one, name) for one in seeds]) for name in names for seeds in places]
        costs = dict.fromkeys(f"{seeds[0].nfe:g}" for seeds in places)
        rows.append([label, ", ".join(costs), *cells])
    return markdown_table(head, rows)


def spread_of(values: Sequence[float]) -> str:
    """A mean, and its deviation where there is one."""
    spread = Spread(tuple(values))
    if math.isinf(spread.mean):
        return "∞" if spread.mean > 0 else "-∞"
    return f"{spread.mean:.2f}" + (f" ± {spread.std:.2f}" if len(values) > 1 else "")
