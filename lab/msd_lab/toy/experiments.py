"""The table of experiments: a row is a command and a section of the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import torch
from matplotlib.figure import Figure
from threestudio_msd.distillation import SCHEDULES, Posterior

from . import annealing, drawing, metrics, scan, stopping
from .densities import DENSITIES, Points, fractal
from .experiment import Batch, Experiment, Picture, Results
from .gradients import (
    EFFICIENCY_METHODS,
    OUTSIDE,
    SAMPLERS,
    STEPS,
    gradient_efficiency,
    implied_loss,
    product_samples,
    sampler_bias,
)
from .optimise import Distilled, final_metrics, path
from .problems import (
    BANDWIDTH,
    METHODS,
    PUBLISHED1,
    PUBLISHED2,
    PUBLISHED3,
    TABLE1,
    TABLE2,
    TABLE3,
    Method,
    Problem,
    msd,
)

FRACTAL = Problem("fractal")
LEARNED = Problem("fractal", "learned")
# Densities whose learned denoiser is shown, too.
SHOWN = ("fractal", "spiral", "pinwheel")
MAIN = ("DDIM", "SDS", "VSD", "SDI", "MSD")
OTHERS = tuple(name for name in DENSITIES if name not in (*SHOWN, "karras-fractal"))


def methods(*names: str) -> dict[str, Method]:
    return {name: METHODS[name] for name in names}


def bounds(results: Results) -> str:
    """State the bounds of a mode seeker's figures: the least NLL, and the precision of the modes."""
    found = []
    for density in dict.fromkeys(m.problem.target() for m in results.measurements):
        exact = metrics.modes(density)
        precision = metrics.measure(exact, density, 0, results.scale.grid**2)["precision"]
        found.append(f"{density.name} {-float(density.logp(exact).max()):.2f} and {precision:.3f}")
    return (
        "No point can have a lower NLL than the highest mode; the exact modes, each once, have a "
        f"precision of their own: {'; '.join(found)}."
    )


def fits(results: Results) -> str:
    return "; ".join(
        f"{method}: {annealing.equation(method, offset, slope)} (within {worst:.0%})"
        for method, (offset, slope, worst) in annealing.laws(results.measurements).items()
    )


def scan_text(results: Results) -> str:
    tried, missed = scan.set_ups(), scan.misses(results.measurements)
    marks = ", ".join(f"{metric} {width:g}" for metric, width in scan.TOLERANCES.items())
    chosen = scan.nearest(tried, results.measurements)
    return (
        f"{len(tried)} set-ups under the fractal's exact denoiser, Adam, {results.scale.grid**2} points, one "
        "seed; each method's nearest to the paper over all seeds. "
        f"Tolerances: {marks} (NLL a tenth where that is more). "
        f"{'; '.join(scan.verdict(name, tried, missed[f'{name}, nearest']) for name in chosen)}."
    )


def still(name: str, figure: Figure, caption: str) -> Picture:
    return name, partial(figure.savefig, dpi=110), caption


def ends(row: Mapping[str, Distilled]) -> list[tuple[str, Points]]:
    return [(name, moved.points) for name, moved in row.items()]


def figure1(results: Results) -> list[Picture]:
    data = fractal().sample(results.scale.grid**2, torch.Generator().manual_seed(0))
    rows = [
        (replace(problem.target(), name=str(problem)), [("data", data), *ends(row)])
        for problem, row in results.data.items()
    ]
    return [still("figure1.png", drawing.gallery(rows, 2.7), "Data, DDIM samples, SDS, MSD.")]


def points(results: Results) -> list[Picture]:
    rows = {
        kind: [(p.target(), ends(row)) for p, row in results.data.items() if p.denoiser == kind]
        for kind in ("ideal", "learned")
    }
    return [
        still(f"points-{kind}.png", drawing.gallery(shown), f"Final points under the {kind} denoiser.")
        for kind, shown in rows.items()
    ]


def paths(results: Results) -> list[Picture]:
    ((problem, row),) = results.data.items()
    steps, moves = results.scale.steps, [(name, moved.path) for name, moved in row.items()]
    draw = partial(drawing.animate, problem.target(), moves)
    caption = f"{steps} steps, every {-(-steps // 50)} a frame; larger in paths.mp4."
    return [
        ("paths.gif", partial(draw, side=230), caption),
        ("paths.mp4", partial(draw, side=400), ""),
    ]


def landscape(results: Results) -> list[Picture]:
    pictures = []
    for problem, row in results.data.items():
        density, size = problem.target(), len(next(iter(row.values()))[0])
        truth = -density.logp(density.grid(size)).double().reshape(size, size)
        losses = [("true −log p", truth, None), *((name, *found) for name, found in row.items())]
        figure = drawing.landscapes(density, losses, metrics.modes(density))
        caption = f"Reconstructed losses beside the true −log p, {problem.denoiser} denoiser."
        pictures.append(still(f"landscape-{problem.denoiser}.png", figure, caption))
    return pictures


def frontier(results: Results) -> list[Picture]:
    recall, precision = results.means("recall"), results.means("precision")
    curves = {str(problem): (recall[problem], precision[problem]) for problem in recall}
    figure = drawing.curves(curves, "recall", "precision", marks=(0.60, 0.97))
    caption = f"Starts {', '.join(map(str, results.scale.starts))}, one seed."
    return [still("frontier.png", figure, caption)]


def annealing_curves(results: Results) -> list[Picture]:
    found = annealing.curves(results.measurements)
    labels = "widest separation of modes over the narrowest, K", "steps to the highest mode"
    figure = drawing.curves({name: found[name] for name in annealing.FEATURES}, *labels, scale="log")
    return [still("annealing.png", figure, "Fewest steps, by schedule.")]


def bandwidth(results: Results) -> list[Picture]:
    ((problem, row),) = results.data.items()
    figure = drawing.bandwidths(problem.target(), OUTSIDE[0], list(row.values()))
    return [still("bandwidth.png", figure, "Product samples for five bandwidths.")]


# In the page's order.
EXPERIMENTS = (
    Experiment(
        "figure1",
        "Figure 1: where the points end",
        "The fractal under the learned denoiser, plain and with classifier-free guidance.",
        [
            Batch(
                (LEARNED, Problem("fractal", "learned", "cfg")), methods("DDIM", "SDS", "MSD"), path, seeds=1
            )
        ],
        figure1,
    ),
    Experiment(
        "paths",
        "Points moving",
        "The points on their way, on the fractal's learned denoiser.",
        [Batch((LEARNED,), methods("SDS", "VSD", "SDI", "MSD"), path, seeds=1, grid=40)],
        paths,
    ),
    Experiment(
        "landscape",
        "The loss that each gradient implies",
        "The mean gradient of each method on a grid, halfway through an optimisation (MSD also at its "
        "end), and the loss whose gradient comes closest to it (Poisson equation). Colours are ranks, low "
        "in dark.",
        [
            Batch(
                (FRACTAL, LEARNED),
                {
                    **{name: (name, 0.5) for name in ("SDS", "VSD", "SDI")},
                    **{f"MSD, λ = {BANDWIDTH(at):.2g}": ("MSD", at) for at in (0.5, 1.0)},
                },
                implied_loss,
                seeds=1,
            )
        ],
        landscape,
    ),
    Experiment(
        "points",
        "All methods, all densities",
        "Where the same grid of points ends.",
        [
            Batch(
                [Problem(name, kind) for kind in ("ideal", "learned") for name in SHOWN],
                methods(*MAIN),
                path,
                seeds=1,
            ),
            # these networks only start VSD's phi
            Batch(
                [Problem(name) for name in OTHERS],
                methods(*MAIN),
                path,
                seeds=1,
                training=128,
            ),
        ],
        points,
    ),
    Experiment(
        "table1",
        "Table 1: the fractal",
        lambda results: (
            "Every method on the fractal, under its exact denoiser, a learned one, and the learned one "
            "guided. A low NLL and a precision near 1 say that points are on the density; recall says how "
            "much of it they cover; unconstrained DDIM sampling is the reference. NFE are the denoiser's "
            f"evaluations that one point took over the whole optimisation. {bounds(results)}"
        ),
        [Batch(TABLE1, METHODS, final_metrics)],
        paper=PUBLISHED1,
    ),
    Experiment(
        "table2",
        "Table 2: spiral and pinwheel",
        lambda results: (
            "The same on spiral and pinwheel, whose scales are set so that DDIM samples have the "
            f"paper's NLL. {bounds(results)}"
        ),
        [Batch(TABLE2, METHODS, final_metrics)],
        paper=PUBLISHED2,
    ),
    Experiment(
        "table3",
        "Table 3: efficiency of the gradient",
        "Natural logarithm of signal over variance and cost (Eq. 17), and the same with the error against "
        "the exact mean shift in place of the variance, up to one scale a method. An estimator without "
        "randomness has an infinite efficiency by Eq. 17 whatever its bias, which only the oracle "
        f"efficiency counts. All halfway through an optimisation, λ = {BANDWIDTH(0.5):.3f}: at points of "
        "the density blurred by λ, and at points anywhere in the view. NFE are those of one estimate.",
        [Batch(TABLE3, {name: name for name in EFFICIENCY_METHODS}, gradient_efficiency)],
        paper=PUBLISHED3,
    ),
    Experiment(
        "bias",
        "Bias of the product samplers",
        "Each sampler's mean against the exact one, on the fractal: bias ||E x - x'|| / ||m|| and spread "
        "of one draw, relative to the mean shift, medians over a grid of y. Resolution is the error that "
        "the number of draws leaves in the mean, which is taken off the bias in expectation.",
        [
            Batch(
                (FRACTAL,),
                {f"{name}, {steps} steps": (name, steps) for steps in STEPS for name in SAMPLERS},
                sampler_bias,
                learned=False,
            )
        ],
    ),
    Experiment(
        "frontier",
        "Precision against recall",
        "One optimisation for every starting bandwidth, all else at MSD's setting; a point each. Dotted: "
        "0.97 and 0.60.",
        [
            Batch(
                (FRACTAL, LEARNED, Problem("spiral", "learned"), Problem("pinwheel", "learned")),
                lambda results: {
                    f"λ from {start:g}": Method(partial(msd, replace(BANDWIDTH, start=start)), "frontier")
                    for start in results.scale.starts
                },
                final_metrics,
                seeds=1,
                grid=48,
            )
        ],
        frontier,
    ),
    Experiment(
        "annealing",
        "Annealing law",
        lambda results: (
            "Exact mean shift from a start at every mode of a binary tree of modes, K being the widest "
            "separation over the narrowest: the fewest steps that bring "
            f"{annealing.ARRIVED:.0%} of the starts to the highest mode, λ falling from 2 K to 1, the modes' "
            "width (separations are 4 to 4 K). A constant λ of 1 never does so by exact shifts (∞); with "
            "draws of the product in place of their mean it escapes by chance, here from the lower of two "
            f"modes, median over 100 points. Fits: {fits(results)}."
        ),
        [
            Batch(
                (Problem("nested"),),
                {name: name for name in SCHEDULES if name != "levels"},  # they are a list, and no law
                annealing.schedule_steps,
                seeds=1,
                learned=False,
            ),
            Batch(
                (Problem("nested"),),
                {"constant, one draw a step": Posterior(8)},
                annealing.escape_steps,
                learned=False,
            ),
        ],
        annealing_curves,
    ),
    Experiment(
        "stopping",
        "Stopping by convergence",
        lambda results: (
            f"Mean shift of {results.scale.grid**2} points, y becoming x', under the exact denoiser. λ falls "
            f"by convergence from {BANDWIDTH.start:g} to {BANDWIDTH.end:g}; a point stops once λ is at its "
            "end and the averaged shift is at most a threshold times λ, or after "
            f"{results.scale.steps} steps."
        ),
        [
            Batch(
                [Problem(name) for name in SHOWN],
                stopping.SAMPLERS,
                stopping.stopped,
                grid=24,
                learned=False,
            )
        ],
    ),
    Experiment(
        "scan",
        "The paper's set-up",
        scan_text,
        [
            Batch((FRACTAL,), lambda results: scan.set_ups(), final_metrics, seeds=1, grid=16),
            Batch(
                (FRACTAL,),
                lambda results: {
                    f"{name}, nearest": scan.set_ups()[name]
                    for name in scan.nearest(scan.set_ups(), results.measurements)
                },
                final_metrics,
                grid=16,
            ),
        ],
    ),
    Experiment(
        "bandwidth",
        "The bandwidth",
        "Samples of the product density p(x) N(x; y, λ²) around one y outside the density, for a λ that "
        "grows from left to right. Mean shift goes to their mean.",
        [
            Batch(
                (FRACTAL,),
                {f"λ = {lam:g}": lam for lam in (0.05, 0.1, 0.2, 0.5, 1.0)},
                product_samples,
                seeds=1,
                learned=False,
            )
        ],
        bandwidth,
    ),
)
