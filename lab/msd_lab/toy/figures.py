"""The commands that draw: each has points, fields or draws made and returns its section of the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from threestudio_msd.distillation import PlainPrior, Posterior, SharedNoise, seed_from

from .. import jobs
from ..jobs import Job
from . import drawing, metrics
from .densities import DENSITIES, Points, fractal
from .ends import optimised, sampled, train_networks
from .gradients import mean_field
from .landscape import potential
from .measurement import Measurement, averaged
from .optimise import SCHEDULE
from .problems import BANDWIDTH, Problem
from .report import Section
from .settings import Scale, Settings

MAIN_METHODS = ("DDIM", "SDS", "VSD", "SDI", "MSD")
LEARNT = ("fractal", "spiral", "pinwheel")
"""Densities whose learned denoiser is shown."""


def figure1(settings: Settings) -> Section:
    """Data, DDIM, SDS and MSD side by side."""
    problems = (Problem("fractal", "learned"), Problem("fractal", "learned", "cfg"))
    methods = ("DDIM", "SDS", "MSD")
    ends = _points([(p, method) for p in problems for method in methods], settings.scale, "figure1")
    data = fractal().sample(settings.scale.grid**2, torch.Generator().manual_seed(0))
    rows = [
        (
            replace(p.target(), name=str(p)),
            [("data", data), *((method, ends[p, method]) for method in methods)],
        )
        for p in problems
    ]
    file = settings.picture("figure1.png", partial(drawing.save, drawing.gallery(rows, 2.7)))
    text = "The fractal under the learned denoiser, plain and with classifier-free guidance."
    return Section(
        "figure1", "Figure 1: where the points end", text, pictures=[(file, "Data, DDIM samples, SDS, MSD.")]
    )


def points(settings: Settings) -> Section:
    """All methods on all densities."""
    densities = [name for name in DENSITIES if name != "karras-fractal"]
    problems = [Problem(name) for name in densities] + [Problem(name, "learned") for name in LEARNT]
    training = settings.scale.training
    short = replace(settings.scale, training=replace(training, steps=min(training.steps, 128)))
    ends = {}
    # where no learned denoiser is shown, the network only starts VSD's phi
    for scale, shown in ((settings.scale, True), (short, False)):
        group = [p for p in problems if (p.density in LEARNT) == shown]
        ends |= _points([(p, method) for p in group for method in MAIN_METHODS], scale, "points")
    pictures = []
    for denoiser in ("ideal", "learned"):
        rows = [
            (p.target(), [(method, ends[p, method]) for method in MAIN_METHODS])
            for p in problems
            if p.denoiser == denoiser
        ]
        file = settings.picture(f"points-{denoiser}.png", partial(drawing.save, drawing.gallery(rows)))
        pictures.append((file, f"Final points under the {denoiser} denoiser."))
    return Section(
        "points", "All methods, all densities", "Where the same grid of points ends.", pictures=pictures
    )


def _points(
    pairs: Sequence[tuple[Problem, str]], scale: Scale, title: str
) -> dict[tuple[Problem, str], Points]:
    """Final points of several methods, seed 0."""
    train_networks([problem for problem, _ in pairs], scale)
    work = [Job(f"{method}: {problem}", _end, (problem, method, scale)) for problem, method in pairs]
    return dict(zip(pairs, jobs.run(work, title), strict=True))


def _end(problem: Problem, method: str, scale: Scale, progress: Callable) -> Points:
    if method == "DDIM":
        return sampled(problem, 0, scale)
    return optimised(problem, method, 0, scale, progress=progress).points


def paths(settings: Settings) -> Section:
    """Points moving."""
    problem, scale = Problem("fractal", "learned"), replace(settings.scale, grid=min(settings.scale.grid, 40))
    names, every = ("SDS", "VSD", "SDI", "MSD"), -(-scale.steps // 50)
    train_networks([problem], scale)
    work = [Job(f"{name}: {problem}", optimised, (problem, name, 0, scale, every)) for name in names]
    moved = [(name, run.path) for name, run in zip(names, jobs.run(work, "paths"), strict=True)]
    files = [
        settings.picture(f"paths{suffix}", partial(drawing.animate, problem.target(), moved, side=side))
        for suffix, side in ((".gif", 230), (".mp4", 400))
    ]
    caption = f"{scale.steps} steps, every {every} a frame; larger in {files[1].name}."
    text = "The points on their way, on the fractal's learned denoiser."
    return Section("paths", "Points moving", text, pictures=[(files[0], caption)])


def landscape(settings: Settings) -> Section:
    """Losses that the gradient fields imply."""
    measurements, pictures = [], []
    for denoiser in ("ideal", "learned"):
        found, picture = _landscapes(Problem("fractal", denoiser), settings)
        measurements += found
        pictures.append((picture, f"Reconstructed losses beside the true −log p, {denoiser} denoiser."))
    settings.save(measurements)
    text = (
        "The mean gradient of each method on a grid, halfway through an optimisation (MSD also at its "
        "end), and the loss whose gradient comes closest to it (Poisson equation). Colours are ranks, low "
        "in dark."
    )
    return Section("landscape", "The loss that each gradient implies", text, measurements, pictures)


def _landscapes(problem: Problem, settings: Settings) -> tuple[list[Measurement], Path]:
    """Every method's loss under one denoiser: the shares that no loss explains, and the picture."""
    density, scale = problem.target(), settings.scale
    size = 96 if scale.grid >= 48 else 32
    train_networks([problem], scale)
    moments = [("SDS", 0.5), ("VSD", 0.5), ("SDI", 0.5), ("MSD", 0.5), ("MSD", 1.0)]
    work = [Job(f"{name} at {at:.0%}", mean_field, (problem, name, at, size, scale)) for name, at in moments]
    (x0, y0), (x1, y1) = density.view
    spacing = (x1 - x0) / size, (y1 - y0) / size
    losses = [("true −log p", -density.logp(density.grid(size)).double(), None)]
    measurements = []
    for (name, at), (field, nfe) in zip(moments, jobs.run(work, f"landscape, {problem}"), strict=True):
        loss, curl = potential(field.reshape(size, size, 2), spacing)
        title = f"MSD, λ = {BANDWIDTH(at):.2g}" if name == "MSD" else name
        losses.append((title, loss.flatten(), curl))
        measurements += averaged(problem, title, [({"curl": curl}, nfe)])
    drawn = drawing.landscapes(density, losses, metrics.modes(density), size)
    return measurements, settings.picture(f"landscape-{problem.denoiser}.png", partial(drawing.save, drawn))


def bandwidth(settings: Settings) -> Section:
    """The effect of lambda on one point's product samples."""
    density, y = fractal(), torch.tensor([[0.35, 0.25]])
    prior, draws = PlainPrior(density.denoise, SCHEDULE), []
    for lam in (0.05, 0.1, 0.2, 0.5, 1.0):
        samples = Posterior()(y.repeat(400, 1), lam, prior, SharedNoise(seed_from(0, "bandwidth"))).x
        draws.append((lam, samples, density.denoise(y, lam)[0]))
    file = settings.picture("bandwidth.png", partial(drawing.save, drawing.bandwidths(density, y[0], draws)))
    text = (
        "Samples of the product density p(x) N(x; y, λ²) around one y outside the density, for a λ that "
        "grows from left to right. Mean shift goes to their mean."
    )
    return Section(
        "bandwidth", "The bandwidth", text, pictures=[(file, "Product samples for five bandwidths.")]
    )
