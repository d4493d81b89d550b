"""Methods compared in 3D: every config on every prompt with every seed, each scene measured as numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig
from threestudio_msd.errors import UserError
from threestudio_msd.files import save_text

from ..measure.images import Run
from ..measure.scene import scene_figures
from ..measure.trained_scene import TrainedScene, run_figures
from ..tinyworld.judge import load_judge
from .comparison import alone_in
from .grid import DONE, Cell, Execute, Method, check_cells, require_different_names, run_grid

TURN = 24  # pictures of the turntable
MOST_SHARE = 1000
POINTS = 4  # of a run's curve, the last one included
MEASURED = "figures.json"
CURVE = ("iou", "l1", "frechet")

Figures = Mapping[str, float]


@dataclass(frozen=True)
class Measured:
    """What was measured of a run.

    Attributes:
        figures: Of the finished scene, with `nfe`, the network's evaluations, and `seconds`.
        curve: Of the scene on its way: `step`, `nfe`, `seconds`, spread evenly over the steps, and the
            figures in `CURVE`.
    """

    figures: Figures
    curve: list[Figures]


@dataclass(frozen=True)
class SceneCell(Cell):
    """One text-to-3D run of a comparison; `particles` are the pictures of its turntable."""

    @property
    def own_settings(self) -> list[str]:
        """See `Cell`."""
        return [
            f"data.n_test_views={self.particles}",
            "trainer.log_every_n_steps=1",  # the last step's evaluations count too
            f"checkpoint.every_n_train_steps={checkpoint_every(self.steps)}",
            "checkpoint.save_top_k=-1",
            "checkpoint.save_weights_only=true",
        ]

    def measure(self) -> None:
        """Write the run's figures and curve beside it; see `Cell`."""
        run = Run(self.folder)
        rows, spent, seconds = int(run.config.data.batch_size), run.nfe_by_step(), self.spent("seconds")
        figures = run_figures(self.folder) | {"nfe": rows * run.nfe, "seconds": seconds}
        curve = []
        for step, name in sorted(checkpoints(self.folder).items()):
            if step < self.steps:
                nfe = rows * max((value for at, value in spent.items() if at < step), default=0.0)
                found = self._figures_at(name)
                curve.append({"step": step, "nfe": nfe, "seconds": seconds * step / self.steps, **found})
        last = {name: figures[name] for name in CURVE if name in figures}
        curve.append({"step": self.steps, "nfe": figures["nfe"], "seconds": seconds, **last})
        note = {"of": self._stamped, "figures": figures, "curve": curve}
        save_text(json.dumps(note, indent=1) + "\n", self.folder / MEASURED)

    def _figures_at(self, checkpoint: str) -> Figures:
        scene = TrainedScene.load(self.folder, checkpoint)
        found = scene_figures(scene, scene.prompt, [load_judge()])
        return {name: found[name] for name in CURVE if name in found}

    @property
    def _stamped(self) -> str:
        """The note that the run left when it was done: another run's figures are not this one's."""
        return (self.folder / DONE).read_text(encoding="utf-8")

    def measured(self) -> Measured:
        """The figures and the curve of the finished run; measured again where they are missing or garbled."""
        for again in (False, True):
            if again:
                self.measure()
            try:
                note = json.loads((self.folder / MEASURED).read_text(encoding="utf-8"))
                if note["of"] == self._stamped:
                    return Measured(note["figures"], note["curve"])
            except (OSError, ValueError, KeyError, TypeError):
                continue
        raise UserError(f"{self.folder}: its figures cannot be kept")


def checkpoint_every(steps: int) -> int:
    """Steps between checkpoints, of which `POINTS` at most are evenly spread and the last step has one."""
    return min(n for n in range(1, steps + 1) if steps % n == 0 and steps // n <= POINTS)


def checkpoints(folder: Path) -> dict[int, str]:
    """A run's checkpoints on the way, their steps and names."""
    found = (path.name for path in folder.glob("ckpts/epoch=*-step=*.ckpt"))
    return {int(name.removesuffix(".ckpt").rpartition("=")[2]): name for name in found}


Read = Callable[[str, list[str]], DictConfig]
"""Reads and checks a config with overrides."""


def steps_of(config: DictConfig, share: float) -> int:
    """A part of the steps that a method's config has, which are set for equal evaluations of the networks."""
    return max(1, round(share * config.trainer.max_steps))


def require_comparable(methods: Sequence[Method], seeds: int, share: float) -> None:
    """Check what is to be compared.

    Raises:
        UserError: Methods share a name, or a number is out of range.
    """
    require_different_names(methods)
    if seeds < 1:
        raise UserError(f"--seeds: expected 1 or more, got {seeds}")
    if not 0 < share <= MOST_SHARE:
        raise UserError(f"--share: expected a number above 0 and of at most {MOST_SHARE}, got {share:g}")


def compare_scenes(
    methods: Sequence[Method],
    prompts: Sequence[str],
    seeds: int,
    share: float,
    out: Path,
    execute: Execute,
    read: Read,
) -> dict[str, dict[SceneCell, Measured]]:
    """Run and measure what is not done yet; write `results.json`.

    Args:
        methods: The rows.
        prompts: Of the tiny world, whose truth is known.
        seeds: Runs with seeds 0, 1, ....
        share: See `steps_of`.
        out: The comparison's folder.
        execute: See `compare.grid.executor`.
        read: Reads and checks a config with overrides.

    Returns:
        What was measured, by method and run; failed runs are missing.

    Raises:
        UserError: Something cannot be compared, or another program is at work in this folder.
    """
    require_comparable(methods, seeds, share)
    check_cells([SceneCell(method, prompts[0], 0, 1, str(out), TURN) for method in methods], read)
    prompt = f"system.prompt_processor.prompt={prompts[0]}"
    steps = {m: steps_of(read(m.config, [prompt, *m.overrides]), share) for m in methods}
    cells = [
        SceneCell(method, prompt, seed, steps[method], str(out), TURN)
        for seed in range(seeds)  # the slowest, so that one stopped half-way has whole seeds
        for prompt in prompts
        for method in methods
    ]
    results: dict[str, dict[SceneCell, Measured]] = {method.label: {} for method in methods}
    with alone_in(out):
        failed = run_grid(cells, execute)
        for cell in cells:
            if cell not in failed:
                results[cell.method.label][cell] = cell.measured()
    plain = {
        label: {cell.folder.name: dict(one.figures) for cell, one in runs.items()}
        for label, runs in results.items()
    }
    save_text(json.dumps(plain, indent=1) + "\n", out / "results.json")
    return results
