"""Methods compared in 3D: every config on every prompt with every seed, each scene measured as numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf
from PIL import Image

from ..errors import UserError
from ..evaluation.grid import Cell, Execute, Method, run_grid
from ..evaluation.images import Run
from ..evaluation.metrics import Spread
from ..files import save_text
from .run import run_figures

TURN = 24  # pictures of the turntable
COLUMNS = {  # figure: heading, decimals
    "iou": ("IoU ↑", 3),
    "l1": ("L1 ↓", 3),
    "yaw_error": ("yaw error, ° ↓", 0),
    "azimuth": ("azimuth consistency ↑", 2),
    "frechet": ("Fréchet to truth ↓", 0),
    "both": ("object and colour ↑", 2),
    "depth_agreement": ("depth agreement ↑", 2),
    "opacity": ("opacity", 3),
    "nfe": ("NFE", 0),
    "seconds": ("seconds", 0),
}

Figures = Mapping[str, float]


@dataclass(frozen=True)
class SceneCell(Cell):
    """One text-to-3D run of a comparison; `particles` are the pictures of its turntable."""

    @property
    def own_settings(self) -> list[str]:
        """See `Cell`."""
        return [
            f"data.n_test_views={self.particles}",
            "trainer.log_every_n_steps=1",  # the last step's evaluations count too
        ]


def steps_of(method: Method, share: float) -> int:
    """A part of the steps that a method's config has, which are set for equal evaluations of the networks.

    Raises:
        UserError: The part is not positive.
    """
    if not share > 0:
        raise UserError(f"--share: expected more than 0, got {share:g}")
    return max(1, round(share * int(OmegaConf.load(method.config).trainer.max_steps)))


def compare_scenes(
    methods: Sequence[Method], prompts: Sequence[str], seeds: int, share: float, out: Path, execute: Execute
) -> dict[str, dict[str, Figures]]:
    """Run what is not done yet, measure every scene, write `results.json`, `tables.md` and `sheet.png`.

    Args:
        methods: The rows.
        prompts: Of the tiny world, whose truth is known.
        seeds: Runs with seeds 0, 1, ....
        share: See `steps_of`.
        out: The comparison's folder.
        execute: See `evaluation.grid.executor`.

    Returns:
        Figures by method and run; a failed run has none.
    """
    cells = [
        SceneCell(method, prompt, seed, steps_of(method, share), str(out), TURN)
        for prompt in prompts
        for seed in range(seeds)
        for method in methods
    ]
    failed = run_grid(cells, execute)
    results: dict[str, dict[str, Figures]] = {method.label: {} for method in methods}
    for cell in cells:
        if cell not in failed:
            results[cell.method.label][cell.folder.name] = figures_of(cell)
    save_text(json.dumps(results, indent=1) + "\n", out / "results.json")
    save_text(markdown(results), out / "tables.md")
    Image.fromarray(sheet([cell for cell in cells if cell not in failed and cell.seed == 0])).save(
        out / "sheet.png"
    )
    return results


def figures_of(cell: SceneCell) -> Figures:
    """Of a finished run: those of its scene, evaluations of the networks a view, and seconds."""
    run = Run(cell.folder)
    nfe = int(run.config.data.batch_size) * run.nfe
    return {**run_figures(cell.folder), "nfe": nfe, "seconds": cell.spent("seconds")}


def markdown(results: Mapping[str, Mapping[str, Figures]]) -> str:
    """Means over the runs with their standard deviations, a row a method."""
    head = ["method", "runs", *(heading for heading, _ in COLUMNS.values())]
    rows = [
        [label, str(len(runs)), *(_shown(runs, figure, digits) for figure, (_, digits) in COLUMNS.items())]
        for label, runs in results.items()
    ]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _shown(runs: Mapping[str, Figures], figure: str, digits: int) -> str:
    spread = Spread(tuple(found[figure] for found in runs.values()))
    if not spread.values:
        return "–"
    deviation = f" ± {spread.std:.{digits}f}" if len(spread.values) > 1 else ""
    return f"{spread.mean:.{digits}f}{deviation}"


def sheet(cells: Sequence[SceneCell]) -> np.ndarray:
    """Four sides of each scene in a row, one row a run, as a picture of 8 bits."""
    return np.concatenate([_sides(cell) for cell in cells])


def _sides(cell: SceneCell) -> np.ndarray:
    records = Run(cell.folder).records()
    pictures = [np.asarray(Image.open(records[i].path).convert("RGB")) for i in range(0, TURN, TURN // 4)]
    return np.concatenate([picture[:, : picture.shape[0]] for picture in pictures], 1)  # the colour part
