"""The commands of `scripts/toy.py`: each runs an experiment and returns its section of the report."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from .. import jobs
from ..distillation import NonFiniteError, PlainPrior, Posterior, SharedNoise, seed_from
from ..files import write_whole
from ..jobs import Job
from . import experiments, figures, metrics
from .densities import DENSITIES, fractal
from .experiments import QUICK, Cell, Scale
from .landscape import potential
from .optimise import SCHEDULE, distil
from .problems import BANDWIDTH, METHODS, TABLE1, TABLE2, Problem, built, msd
from .report import Section, show, write_json, write_markdown, write_page

ALL_METHODS = ("DDIM", *METHODS)
MAIN_METHODS = ("DDIM", "SDS", "VSD", "SDI", "MSD")


@dataclass(frozen=True)
class Run:
    """What a command is given.

    Attributes:
        seeds: Number of seeds.
        scale: Size of the experiment.
        out: Folder for pictures.
        report: Told the cells so far, so that they are saved along the way.
    """

    seeds: int
    scale: Scale
    out: Path
    report: Callable[[list[Cell]], None]

    def picture(self, name: str, draw: Callable[[Path], object]) -> Path:
        """Have a picture drawn into the folder, whole or not at all."""
        file = self.out / name
        write_whole(file, draw)
        return file


def table1(run: Run) -> Section:
    """The fractal: NLL, precision, recall, MMD, modes found."""
    cells = experiments.compare(TABLE1, ALL_METHODS, run.seeds, run.scale, "table1", run.report)
    text = (
        "Every method on the fractal, under its exact denoiser, a learned one, and the learned one guided. A low NLL and a "
        "precision near 1 say that points are on the density; recall says how much of it they cover; unconstrained DDIM "
        "sampling is the reference. Calls are denoiser calls that one point took over the whole optimisation. "
        f"{_bounds(('fractal',), run.scale)}"
    )
    return Section("table1", "Table 1: the fractal", text, cells)


def _bounds(names: Sequence[str], scale: Scale) -> str:
    """What bounds a mode seeker's figures: the least NLL a point can have, and the precision of the exact modes."""
    found = []
    for name in names:
        density = built(name)
        exact = metrics.modes(density)
        precision = experiments.measure(exact, density, 0, scale.grid**2)["precision"]
        found.append(f"{name} {-float(density.logp(exact).max()):.2f} and {precision:.3f}")
    limits = "No point can have a lower NLL than the highest mode; the exact modes, each once, have a precision of their own"
    return f"{limits}: {'; '.join(found)}."


def table2(run: Run) -> Section:
    """Spiral and pinwheel."""
    cells = experiments.compare(TABLE2, ALL_METHODS, run.seeds, run.scale, "table2", run.report)
    text = (
        "The same on the spiral and the pinwheel, whose scales are set so that DDIM samples have the paper's NLL. "
        f"{_bounds(('spiral', 'pinwheel'), run.scale)}"
    )
    return Section("table2", "Table 2: spiral and pinwheel", text, cells)


def table3(run: Run) -> Section:
    """Efficiency of the gradient estimates."""
    cells = experiments.efficiencies(run.seeds, run.scale, run.report)
    text = (
        "Natural logarithm of signal over variance and cost (Eq. 17), and the same with the error against the exact mean shift "
        "in place of the variance, up to one scale a method. An estimator without randomness has an infinite efficiency by Eq. "
        "17 whatever its bias, so the oracle efficiency is the one that tells. All halfway through an optimisation, "
        f"λ = {BANDWIDTH(0.5):.3f}: at points of the density blurred by λ, and at points anywhere in the view, where a learned "
        "denoiser has mostly seen nothing at so small a λ. Calls are those of one estimate."
    )
    return Section("table3", "Table 3: efficiency of the gradient", text, cells)


def bias(run: Run) -> Section:
    """Bias and variance of the product samplers."""
    cells = experiments.biases(run.seeds, run.scale, run.report)
    text = (
        "Each sampler's mean against the exact one, on the fractal: bias ||E x - x'|| / ||m|| and spread of one draw, relative "
        "mean shift, medians over a grid of y. Resolution is the error that the number of draws leaves in the mean, which is "
        "taken off the bias in expectation."
    )
    return Section("bias", "Bias of the product samplers", text, cells)


def figure1(run: Run) -> Section:
    """Data, DDIM, SDS and MSD side by side."""
    problems, methods = (
        (Problem("fractal", "learned"), Problem("fractal", "learned", "cfg")),
        ("DDIM", "SDS", "MSD"),
    )
    named = _optimised([(p, method) for p in problems for method in methods], run, "figure1")
    data = fractal().sample(run.scale.grid**2, torch.Generator().manual_seed(0))
    rows = [
        (
            replace(p.target(), name=str(p)),
            [("data", data), *((method, named[p, method]) for method in methods)],
        )
        for p in problems
    ]
    file = run.picture("figure1.png", partial(figures.save, figures.gallery(rows, 2.7)))
    text = (
        "The fractal under the learned denoiser, plain and with classifier-free guidance. SDS gathers its points around the "
        "data's mean, and guidance drives them off the density altogether; MSD leaves them on it."
    )
    return Section(
        "figure1", "Figure 1: where the points end", text, pictures=[(file, "Data, DDIM samples, SDS, MSD.")]
    )


def points(run: Run) -> Section:
    """All methods on all densities."""
    densities = [name for name in DENSITIES if name != "karras-fractal"]
    problems = [Problem(name) for name in densities]
    problems += [Problem(name, "learned") for name in ("fractal", "spiral", "pinwheel")]
    learnt = {"fractal", "spiral", "pinwheel"}  # elsewhere the network only starts VSD's phi
    short = replace(
        run,
        scale=replace(
            run.scale, training=replace(run.scale.training, steps=min(run.scale.training.steps, 128))
        ),
    )
    wanted = lambda keep: [(p, m) for p in problems for m in MAIN_METHODS if (p.density in learnt) == keep]  # noqa: E731
    named = _optimised(wanted(True), run, "points") | _optimised(wanted(False), short, "points")
    pictures = []
    for denoiser in ("ideal", "learned"):
        rows = [
            (p.target(), [(m, named[p, m]) for m in MAIN_METHODS if (p, m) in named])
            for p in problems
            if p.denoiser == denoiser
        ]
        file = run.picture(f"points-{denoiser}.png", partial(figures.save, figures.gallery(rows)))
        pictures.append((file, f"Final points under the {denoiser} denoiser."))
    return Section(
        "points", "All methods, all densities", "Where the same grid of points ends.", pictures=pictures
    )


def landscape(run: Run) -> Section:
    """Losses that the gradient fields imply."""
    cells, pictures = [], []
    for denoiser in ("ideal", "learned"):
        found, picture = _landscapes(Problem("fractal", denoiser), run)
        cells += found
        pictures.append((picture, f"Reconstructed losses beside the true −log p, {denoiser} denoiser."))
    run.report(cells)
    text = (
        "The mean gradient of each method on a grid, halfway through an optimisation (MSD also at its end), and the loss whose "
        "gradient comes closest to it (Poisson equation). Colours are ranks, low in dark. SDS's loss is a bowl around the mean "
        "of the data, whatever their shape. MSD's is −log p blurred by λ. Far from the data a learned denoiser at a small λ "
        "has seen nothing and its field is arbitrary: hence λ starts large."
    )
    return Section("landscape", "The loss that each gradient implies", text, cells, pictures)


def _landscapes(problem: Problem, run: Run) -> tuple[list[Cell], Path]:
    """Every method's loss under one denoiser: the shares that no loss explains, and the picture."""
    density, size = problem.target(), 96 if run.scale.grid >= 48 else 32
    experiments.train_networks([problem], run.scale)
    moments = [("SDS", 0.5), ("VSD", 0.5), ("SDI", 0.5), ("MSD", 0.5), ("MSD", 1.0)]
    work = [
        Job(f"{name} at {at:.0%}", _mean_field, (problem, name, at, size, run.scale)) for name, at in moments
    ]
    (x0, y0), (x1, y1) = density.view
    spacing = (x1 - x0) / size, (y1 - y0) / size
    fields = [("true −log p", -density.logp(density.grid(size)).double(), None)]
    cells = []
    for (name, at), (field, calls) in zip(moments, jobs.run(work, f"landscape, {problem}"), strict=True):
        loss, curl = potential(field.reshape(size, size, 2), spacing)
        title = f"MSD, λ = {BANDWIDTH(at):.2g}" if name == "MSD" else name
        fields.append((title, loss.flatten(), curl))
        cells.append(
            Cell(problem.density, problem.denoiser, "none", title, "curl", curl, None, 1, None, calls)
        )
    drawn = figures.landscapes(density, fields, metrics.modes(density), size)
    return cells, run.picture(f"landscape-{problem.denoiser}.png", partial(figures.save, drawn))


def paths(run: Run) -> Section:
    """Points moving."""
    problem, names = Problem("fractal", "learned"), ("SDS", "VSD", "SDI", "MSD")
    small = replace(run, scale=replace(run.scale, grid=min(run.scale.grid, 40)))
    every = -(-run.scale.steps // 50)
    moved = _optimised([(problem, name) for name in names], small, "paths", record_every=every)
    recorded = [(name, path) for (_, name), path in moved.items()]
    files = [
        run.picture(f"paths{suffix}", partial(figures.animate, problem.target(), recorded, side=side))
        for suffix, side in ((".gif", 230), (".mp4", 400))
    ]
    caption = f"{run.scale.steps} steps on the fractal's learned denoiser, every {every} a frame; larger in {files[1].name}."
    text = (
        "SDS gathers the points around the data's mean and keeps them shaking, VSD's and SDI's wander, and MSD's settle on the "
        "density."
    )
    return Section("paths", "Points moving", text, pictures=[(files[0], caption)])


def bandwidth(run: Run) -> Section:
    """The effect of lambda on one point's product samples."""
    density, y = fractal(), torch.tensor([[0.35, 0.25]])
    prior, draws = PlainPrior(density.denoise, SCHEDULE), []
    for lam in (0.05, 0.1, 0.2, 0.5, 1.0):
        samples = Posterior()(y.repeat(400, 1), lam, prior, SharedNoise(seed_from(0, "bandwidth"))).x
        draws.append((lam, samples, density.denoise(y, lam)[0]))
    file = run.picture("bandwidth.png", partial(figures.save, figures.bandwidths(density, y[0], draws)))
    text = (
        "Samples of the product density p(x) N(x; y, λ²) around one y outside the density. Mean shift goes to their mean. "
        "A small λ finds the nearest part of the density, a large one the density's centre: λ starts large to reach every "
        "point and falls, so that what is reached is a mode."
    )
    return Section(
        "bandwidth", "The bandwidth", text, pictures=[(file, "Product samples for five bandwidths.")]
    )


def frontier(run: Run) -> Section:
    """Precision against recall over the starting bandwidth."""
    problems = [
        Problem("fractal"),
        Problem("fractal", "learned"),
        Problem("spiral", "learned"),
        Problem("pinwheel", "learned"),
    ]
    experiments.train_networks(problems, run.scale)
    small = replace(run.scale, grid=min(run.scale.grid, 48))
    pairs = [(p, start) for p in problems for start in run.scale.starts]
    found = jobs.run(
        [Job(f"{p}, λ from {start:g}", _frontier_point, (p, start, small)) for p, start in pairs], "frontier"
    )
    cells, curves = [], {}
    for (problem, start), (measured, calls) in zip(pairs, found, strict=True):
        curves.setdefault(str(problem), []).append((measured["recall"], measured["precision"]))
        for metric, value in measured.items():
            cells.append(
                Cell(
                    problem.density,
                    problem.denoiser,
                    problem.guidance,
                    f"λ from {start:g}",
                    metric,
                    value,
                    None,
                    1,
                    None,
                    calls,
                )
            )
    run.report(cells)
    file = run.picture("frontier.png", partial(figures.save, figures.scatter_frontier(curves)))
    text = (
        "One optimisation for every starting bandwidth, all else at MSD's setting: coverage is bought with a small start, but "
        "under a learned denoiser a small start strands points where the network has never seen data. Dotted: 0.97 and 0.60."
    )
    return Section(
        "frontier",
        "Precision against recall",
        text,
        cells,
        [(file, f"Starts {', '.join(map(str, run.scale.starts))}, one seed.")],
    )


COMMANDS: dict[str, Callable[[Run], Section]] = {
    command.__name__: command
    for command in (figure1, paths, landscape, points, table1, table2, table3, bias, frontier, bandwidth)
}


def _optimised(
    pairs: Sequence[tuple[Problem, str]], run: Run, title: str, **options: int
) -> dict[tuple[Problem, str], Tensor]:
    """Final points (or, with `record_every`, paths) of several methods, seed 0."""
    experiments.train_networks([problem for problem, _ in pairs], run.scale)
    work = [
        Job(f"{method}: {problem}", _final_points, (problem, method, run.scale, options))
        for problem, method in pairs
    ]
    return dict(zip(pairs, jobs.run(work, title), strict=True))


def _final_points(
    problem: Problem, method: str, scale: Scale, options: dict[str, int], progress: Callable
) -> Tensor:
    return experiments.final_points(problem, method, 0, scale, progress, **options)[0]


def _mean_field(
    problem: Problem, method: str, at: float, size: int, scale: Scale, progress: Callable
) -> tuple[Tensor, int]:
    """A method's mean gradient on a grid when the part `at` of an optimisation is done, and the calls of one estimate."""
    prior, network = problem.prior(scale.training)
    y, noise = problem.target().grid(size), SharedNoise(seed_from(0, method))
    phi = [experiments.halfway_phi(network, y, noise, scale).denoise] if method == "VSD" else []
    draws = max(scale.draws // 16, 16)
    g, calls = experiments.gradient_draws(METHODS[method](*phi), y, prior, noise, draws, progress, at)
    return g.mean(0), calls


def _frontier_point(
    problem: Problem, start: float, scale: Scale, progress: Callable
) -> tuple[dict[str, float], int]:
    density, prior = problem.target(), problem.prior(scale.training)[0]
    noise = SharedNoise(seed_from(0, "frontier"))
    moved = distil(
        density.grid(scale.grid),
        msd(replace(BANDWIDTH, start=start)),
        prior,
        noise,
        scale.steps,
        progress=progress,
    )
    return experiments.measure(moved.points, density, 0), moved.nfe


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = argparse.ArgumentParser(
        prog="toy.py", description="Mean-shift distillation on 2D densities, measured against the truth."
    )
    parse.add_argument("command", choices=[*COMMANDS, "all"])
    parse.add_argument(
        "--quick",
        action="store_true",
        help="a small version of everything, for a first look: its figures prove nothing",
    )
    parse.add_argument("--seeds", type=int, default=None, help="seeds to average over (3; with --quick 1)")
    parse.add_argument(
        "--json", type=Path, default=None, metavar="OUT", help="write one object a figure to this file"
    )
    parse.add_argument(
        "--markdown", type=Path, default=None, metavar="OUT", help="write the tables to this file as Markdown"
    )
    parse.add_argument(
        "--out",
        type=Path,
        default=Path("outputs/toy"),
        metavar="DIR",
        help="folder for pictures and the page",
    )
    return parse


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    arguments = parser().parse_args(argv)
    seeds = arguments.seeds if arguments.seeds is not None else (1 if arguments.quick else 3)
    if seeds < 1:
        parser().error(f"--seeds must be at least 1, got {seeds}")
    console, done = Console(), []

    def report(cells: list[Cell]) -> None:
        if arguments.json:
            write_json([*(cell for section in done for cell in section.cells), *cells], arguments.json)

    run = Run(seeds, QUICK if arguments.quick else Scale(), arguments.out, report)
    try:
        for command in COMMANDS if arguments.command == "all" else [arguments.command]:
            began = time.monotonic()
            section = COMMANDS[command](run)
            show(section, console)
            console.print(f"{command} took {time.monotonic() - began:.0f} s", style="dim")
            done.append(section)
            report([])
    except KeyboardInterrupt:
        console.print(
            "stopped; finished figures are in the JSON file, trained networks in the cache"
            if arguments.json
            else "stopped"
        )
        return 130
    except (NonFiniteError, OSError) as error:
        console.print(f"error: {error}", style="red")
        return 1
    command = shlex.join(["python", "scripts/toy.py", *(sys.argv[1:] if argv is None else argv)])
    if arguments.markdown:
        write_markdown(done, command, arguments.markdown)
    if arguments.command == "all":
        page = arguments.out / "toy.html"
        write_page(done, seeds, command, page)
        console.print(f"page: {page}")
    return 0
