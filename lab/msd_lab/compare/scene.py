"""Scenes compared on the tiny world, whose truth is known: every config, prompt and seed.

python -m msd_lab scenes --configs configs/msd-nerf-tiny.yaml configs/sds-nerf-tiny.yaml \\
    --prompts "a red mug" --seeds 3 --out outputs/compare-3d

A config is a file, or LABEL=FILE, or FILE,key=value,... with settings of its own, or a file that
lists methods. Finished runs are kept: the same command resumes where it stopped.
OUT/index.html shows tables, turntables and curves; OUT/tables.md has the tables alone,
OUT/results.json every run's figures, OUT/turntables.mp4 and OUT/sheet.png the scenes. With --results
FOLDER every run's figures are a file there too, and a run that has one is not made again, even
without its folder: then its scene is missing in the pictures.
"""

import argparse
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from threestudio_msd.errors import UserError
from threestudio_msd.files import save_text

from launcher.checks.config import read_checked
from launcher.script import require_folder

from ..measure.images import Run
from ..measure.scene import scene_figures
from ..measure.trained_scene import TrainedScene, run_figures
from ..tinyworld.judge import load_judge
from .engine import Comparison, Failed, run_comparison
from .execution import Execute, executor, run_all
from .methods import Method, read_methods
from .prompts import read_prompts
from .results import from_json, to_json
from .runs import DONE, PlannedRun

TURN = 24  # pictures of the turntable
MAX_SHARE = 1000
POINTS = 4  # of a run's curve, the last one included
MEASURED = "figures.json"
CURVE = ("iou", "l1", "frechet")

Figures: TypeAlias = dict[str, float]


@dataclass(frozen=True)
class Measured:
    """The figures of a run.

    Attributes:
        figures: Of the finished scene, with `nfe`, the network's evaluations, and `seconds`.
        curve: Of the scene on its way: `step`, `nfe`, `seconds`, spread evenly over the steps, and the
            figures in `CURVE`.
        of: The `done.json` of the run that was measured.
    """

    figures: Figures
    curve: tuple[Figures, ...] = ()
    of: str = ""


@dataclass(frozen=True)
class SceneRun(PlannedRun):
    """A text-to-3D run of a comparison; `particles` are the pictures of its turntable.

    Attributes:
        results: Folder with the figures of runs, a file each; empty for none.
    """

    results: str = ""

    @property
    def record(self) -> Path:
        """The file with its figures among the `results`."""
        return Path(self.results, f"{self.method.label}-{self.steps}-{self}.json")

    @property
    def made_from(self) -> dict[str, Any]:
        """What its figures depend on, on any machine."""
        text = Path(self.method.config).read_bytes()
        return {"config": hashlib.sha256(text).hexdigest(), "overrides": list(self.method.overrides)}

    def recorded(self) -> Measured | None:
        """The figures among the `results`; None without any that are of the config as it is now."""
        if not self.results or not self.record.is_file():
            return None
        note = json.loads(self.record.read_text(encoding="utf-8"))
        return from_json(Measured, note["measured"]) if note["made_from"] == self.made_from else None

    @property
    def own_settings(self) -> list[str]:
        return [
            f"data.n_test_views={self.particles}",
            "trainer.log_every_n_steps=1",  # the last step's evaluations count too
            f"checkpoint.every_n_train_steps={checkpoint_every(self.steps)}",
            "checkpoint.save_top_k=-1",
            "checkpoint.save_weights_only=true",
        ]

    def measure(self) -> None:
        run = Run(self.folder)
        rows, spent, seconds = int(run.config.data.batch_size), run.nfe_by_step(), self.done.seconds
        figures = run_figures(self.folder) | {"nfe": rows * run.nfe, "seconds": seconds}
        curve = []
        for step, name in sorted(checkpoints(self.folder).items()):
            if step < self.steps:
                nfe = rows * max((value for at, value in spent.items() if at < step), default=0.0)
                found = self._figures_at(name)
                curve.append({"step": step, "nfe": nfe, "seconds": seconds * step / self.steps, **found})
        last = {name: figures[name] for name in CURVE if name in figures}
        curve.append({"step": self.steps, "nfe": figures["nfe"], "seconds": seconds, **last})
        measured = Measured(figures, tuple(curve), self._done_text())
        save_text(json.dumps(to_json(measured), indent=1) + "\n", self.folder / MEASURED)
        if self.results:
            note = {"made_from": self.made_from, "measured": to_json(replace(measured, of=""))}
            save_text(json.dumps(note, indent=1) + "\n", self.record)

    def _figures_at(self, checkpoint: str) -> Figures:
        scene = TrainedScene.load(self.folder, checkpoint)
        found = scene_figures(scene, scene.prompt, [load_judge()])
        return {name: found[name] for name in CURVE if name in found}

    def _done_text(self) -> str:
        return (self.folder / DONE).read_text(encoding="utf-8")

    def measured(self) -> Measured:
        """The figures of the finished run; measured again if they are missing, garbled or another run's."""
        for again in (False, True):
            if again:
                self.measure()
            try:
                note = json.loads((self.folder / MEASURED).read_text(encoding="utf-8"))
                measured = from_json(Measured, note)
                if measured.of == self._done_text():
                    return measured
            except (OSError, ValueError, TypeError, AttributeError):
                continue
        raise UserError(f"{self.folder}: its figures cannot be kept")


def checkpoint_every(steps: int) -> int:
    """Steps between checkpoints: at most `POINTS` of them, evenly spread, the last step among them."""
    return min(n for n in range(1, steps + 1) if steps % n == 0 and steps // n <= POINTS)


def checkpoints(folder: Path) -> dict[int, str]:
    found = (path.name for path in folder.glob("ckpts/epoch=*-step=*.ckpt"))
    return {int(name.removesuffix(".ckpt").rpartition("=")[2]): name for name in found}


SceneResults: TypeAlias = dict[str, dict[SceneRun, Measured]]
"""The figures of finished runs by method and run."""


@dataclass(frozen=True, kw_only=True)
class SceneComparison(Comparison):
    """Methods by the scenes that they end with; `particles` are the pictures of a turntable.

    Attributes:
        share: Part of the steps of the methods' configs.
        results: Folder with the figures of runs, a file each, which are not made again; None for none.

    Raises:
        UserError: A number is out of range.
    """

    particles: int = TURN
    share: float = 1.0
    results: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share <= MAX_SHARE:
            raise UserError(
                f"--share: expected a number above 0 and of at most {MAX_SHARE}, got {self.share:g}"
            )

    def planned(self, method: Method, prompt: str, seed: int, steps: int) -> SceneRun:
        return SceneRun(
            method, prompt, seed, steps, str(self.out), self.particles, results=str(self.results or "")
        )

    def first_runs(self) -> list[PlannedRun]:
        return [self.planned(method, self.prompts[0], 0, 1) for method in self.methods]

    def steps(self, method: Method) -> int:
        return max(1, round(self.share * self.settings(method).trainer.max_steps))

    def make(self, execute: Execute) -> tuple[SceneResults, Failed]:
        steps = {method: self.steps(method) for method in self.methods}
        runs = [
            self.planned(method, prompt, seed, steps[method])
            for seed in self.seed_range  # outermost, so that an interrupted comparison has whole seeds
            for prompt in self.prompts
            for method in self.methods
        ]
        recorded = {run: run.recorded() for run in runs}
        failed = run_all([run for run in runs if recorded[run] is None], execute)
        results: SceneResults = {method.label: {} for method in self.methods}
        for run in runs:
            if run not in failed:
                results[run.method.label][run] = recorded[run] or run.measured()
        return results, failed

    def report(self, results: SceneResults) -> str:
        from ..report.scene import write_report  # matplotlib

        page = write_report(results, self.out)
        return f"{(self.out / 'tables.md').read_text(encoding='utf-8')}\n{page}"


def run(args: argparse.Namespace) -> int:
    if args.results is not None:
        require_folder(args.results, "--results")
    comparison = SceneComparison(
        methods=read_methods(args.configs),
        prompts=read_prompts(args.prompts),
        seeds=args.seeds,
        out=args.out.resolve(),
        read=read_checked,
        share=args.share,
        results=args.results and args.results.resolve(),
    )
    return run_comparison(comparison, executor("launch:main", args.jobs))[1]
