"""Samplers and methods on the exact prior of real pictures: python -m msd_lab.pictures [EXPERIMENT ...]

bias       every product sampler against the exact mean shift, over bandwidths
split      what the paper leaves open of its sampler: interval, first level, centre, solver, levels
ends       where SDS, VSD, SDI, CSD, ISM and MSD leave particles, and when they arrive
annealing  the exact mean-shift iteration, over first bandwidths and numbers of steps

Every experiment and seed is a JSON file in --out, which is not measured again; tables.md and index.html there
show all that are finished.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from threestudio_msd.distillation import PlainPrior, SharedNoise
from threestudio_msd.files import save_text

from launcher.script import Parser, in_one_line, require_folder, whole

from ..jobs import Job, run
from ..report.page import Section, figure, picture, png_url, write_page
from ..report.table import Entry, Spread, Table
from .data import COLUMNS, SIDE, load_index, load_pictures
from .experiments import DRAWS, EXPERIMENTS, PARTICLES, SAMPLERS, STEPS, centres
from .prior import SCHEDULE, PictureDenoiser, picture_places

Figures = dict[str, float]
Rows = dict[str, Figures]

KEYS = {
    "bias": ("sampler", "bandwidth", "around"),
    "split": ("sampler", "bandwidth"),
    "ends": ("method", "guidance", "learning rate"),
    "annealing": ("bandwidth", "steps"),
}
"""The parts of a row's name, by experiment."""


def measure(name: str, seed: int, out: Path, progress: object) -> None:
    """Run an experiment with a seed, and save its rows."""
    rows: Rows = {}
    for row, figures in EXPERIMENTS[name](seed):
        rows[row] = figures
        progress(len(rows), 0, row)
    save_text(json.dumps(rows, indent=1) + "\n", result(out, name, seed))


def result(out: Path, name: str, seed: int) -> Path:
    """The file of an experiment with a seed."""
    return out / f"{name}-{seed}.json"


def table(name: str, results: Sequence[Rows]) -> Table:
    """A table of an experiment: every figure as mean and deviation over seeds."""
    figures = list(next(iter(results[0].values())))
    rows = [
        [*row.split(" | "), *(Entry.of(Spread(tuple(r[row][key] for r in results))) for key in figures)]
        for row in results[0]
    ]
    return Table([*KEYS[name], *figures], rows, f"{name}, {len(results)} seeds")


def finished(out: Path) -> Mapping[str, list[Rows]]:
    """The results of each experiment that has some, by name."""
    found = {name: sorted(out.glob(f"{name}-[0-9]*.json")) for name in EXPERIMENTS}
    return {
        name: [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        for name, paths in found.items()
        if paths
    }


def sheet_of_draws(lam: float = 25.0, shown: int = 8) -> np.ndarray:
    """Draws of every sampler around a blend of two pictures, `[rows * 64, columns * 64, 3]`.

    The first column is the centre, the second the exact mean; below the samplers are true draws.
    """
    denoiser = PictureDenoiser(load_pictures()[picture_places("animal")])
    y = centres(denoiser.pictures, 0)["blend"]
    prior, rows = PlainPrior(denoiser, SCHEDULE), []
    for sampler in SAMPLERS.values():
        rows.append(sampler(y.expand(shown, -1, -1, -1), torch.tensor(lam), prior, SharedNoise(0)).x)
    generator = torch.Generator().manual_seed(0)
    true = torch.multinomial(denoiser.weights(y, lam)[0], shown, True, generator=generator)
    rows.append(denoiser.pictures[true])
    lead = torch.cat([y, denoiser(y, lam)])
    images = torch.stack([torch.cat([lead, row]) for row in rows])
    pixels = ((images.clamp(-1, 1) + 1) * 127.5).round().byte().numpy()
    return pixels.transpose(0, 3, 1, 4, 2).reshape(len(rows) * SIDE, (shown + 2) * SIDE, 3)


def write_report(out: Path) -> Path:
    """Write tables.md and index.html of all finished experiments; returns the page."""
    tables = {name: table(name, results) for name, results in finished(out).items()}
    texts = [f"## {name}\n\n{made.markdown()}\n" for name, made in tables.items()]
    save_text("\n".join(texts), out / "tables.md")
    rows = ", ".join([*SAMPLERS, "exact draws"])
    drawn = picture(png_url(sheet_of_draws()), "Draws of each sampler around a blend of two pictures")
    caption = f"Around a blend of two pictures, λ = 25: the centre, the exact mean, eight draws of {rows}."
    pictures = ((load_pictures() + 1) * 127.5).byte().numpy()
    data = figure(picture(png_url(_tiled(pictures)), "All pictures"), f"The {len(load_index())} pictures.")
    sections = [Section("", [figure(drawn, caption)])]
    sections += [Section(name, [made.html()], name) for name, made in tables.items()]
    sections += [Section("data", [data], "data")]
    title = "Samplers and methods on the exact prior of real pictures"
    return write_page(out / "index.html", title, sections)


def _tiled(pictures: np.ndarray) -> np.ndarray:
    gap = np.full((-len(pictures) % COLUMNS, *pictures.shape[1:]), 255, np.uint8)
    grid = np.concatenate([pictures, gap]).reshape(-1, COLUMNS, 3, SIDE, SIDE)
    return grid.transpose(0, 3, 1, 4, 2).reshape(-1, COLUMNS * SIDE, 3)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns 0, 2 for what the user can mend, 130 after Ctrl-C."""
    parser = Parser(__doc__)
    add = parser.add_argument
    add("experiments", nargs="*", metavar="EXPERIMENT", help=f"of {', '.join(EXPERIMENTS)}; all by default")
    add("--seeds", type=whole(), default=3)
    add("--jobs", type=whole(), help="processes; as many as there are cores by default")
    add("--out", type=Path, default=Path("outputs") / "pictures")
    args = parser.parse_args(argv)
    unknown = sorted(set(args.experiments) - set(EXPERIMENTS))
    if unknown:
        parser.error(f"{unknown[0]}: expected some of {', '.join(EXPERIMENTS)}")
    return in_one_line(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    require_folder(args.out)
    args.out.mkdir(parents=True, exist_ok=True)
    work = [
        Job(f"{name}, seed {seed}", measure, (name, seed, args.out))
        for name in args.experiments or EXPERIMENTS
        for seed in range(args.seeds)
        if not result(args.out, name, seed).is_file()
    ]
    run(work, "pictures", args.jobs)
    page = write_report(args.out)
    console = Console()
    for name, results in finished(args.out).items():
        console.print(table(name, results).console())
    print(f"{DRAWS} draws; {PARTICLES} particles, {STEPS} steps of Adam\n{page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
