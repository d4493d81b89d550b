"""The commands that print figures: each runs an experiment and returns its section of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from . import annealing as law
from . import drawing, ends, metrics
from . import stopping as convergence
from .bias import biases
from .efficiency import efficiencies
from .problems import BANDWIDTH, METHODS, TABLE1, TABLE2, Problem, built
from .report import Section
from .scan import TOLERANCES, misses, nearest, scanned, set_ups, verdict
from .settings import Scale, Settings

ALL_METHODS = ("DDIM", *METHODS)


def table1(settings: Settings) -> Section:
    """The fractal: NLL, precision, recall, MMD, modes found."""
    text = (
        "Every method on the fractal, under its exact denoiser, a learned one, and the learned one "
        "guided. A low NLL and a precision near 1 say that points are on the density; recall says how "
        "much of it they cover; unconstrained DDIM sampling is the reference. NFE are the denoiser's "
        "evaluations that one point took over the whole optimisation."
    )
    return _comparison("table1", "Table 1: the fractal", text, TABLE1, settings)


def table2(settings: Settings) -> Section:
    """Spiral and pinwheel."""
    text = "The same on spiral and pinwheel, whose scales are set so that DDIM samples have the paper's NLL."
    return _comparison("table2", "Table 2: spiral and pinwheel", text, TABLE2, settings)


def _comparison(name: str, title: str, text: str, problems: Sequence[Problem], settings: Settings) -> Section:
    measurements = ends.compare(problems, ALL_METHODS, settings.seeds, settings.scale, name, settings.save)
    densities = dict.fromkeys(problem.density for problem in problems)
    return Section(name, title, f"{text} {_bounds(densities, settings.scale)}", measurements)


def _bounds(names: Sequence[str], scale: Scale) -> str:
    """What bounds a mode seeker's figures: the least NLL of a point, and the precision of the exact modes."""
    found = []
    for name in names:
        exact = metrics.modes(built(name))
        precision = metrics.measure(exact, built(name), 0, scale.grid**2)["precision"]
        found.append(f"{name} {-float(built(name).logp(exact).max()):.2f} and {precision:.3f}")
    return (
        "No point can have a lower NLL than the highest mode; the exact modes, each once, have a "
        f"precision of their own: {'; '.join(found)}."
    )


def table3(settings: Settings) -> Section:
    """Efficiency of the gradient estimates."""
    measurements = efficiencies(settings.seeds, settings.scale, settings.save)
    text = (
        "Natural logarithm of signal over variance and cost (Eq. 17), and the same with the error against "
        "the exact mean shift in place of the variance, up to one scale a method. An estimator without "
        "randomness has an infinite efficiency by Eq. 17 whatever its bias, which only the oracle "
        f"efficiency counts. All halfway through an optimisation, λ = {BANDWIDTH(0.5):.3f}: at points of "
        "the density blurred by λ, and at points anywhere in the view. NFE are those of one estimate."
    )
    return Section("table3", "Table 3: efficiency of the gradient", text, measurements)


def bias(settings: Settings) -> Section:
    """Bias and variance of the product samplers."""
    measurements = biases(settings.seeds, settings.scale, settings.save)
    text = (
        "Each sampler's mean against the exact one, on the fractal: bias ||E x - x'|| / ||m|| and spread "
        "of one draw, relative to the mean shift, medians over a grid of y. Resolution is the error that "
        "the number of draws leaves in the mean, which is taken off the bias in expectation."
    )
    return Section("bias", "Bias of the product samplers", text, measurements)


def frontier(settings: Settings) -> Section:
    """Precision against recall over the starting bandwidth."""
    problems = [
        Problem("fractal"),
        Problem("fractal", "learned"),
        Problem("spiral", "learned"),
        Problem("pinwheel", "learned"),
    ]
    scale = replace(settings.scale, grid=min(settings.scale.grid, 48))
    measurements = ends.frontier(problems, scale, settings.save)
    curves = {}
    for problem in problems:
        of = {
            metric: [
                measurement.mean
                for measurement in measurements
                if measurement.problem == problem and measurement.metric == metric
            ]
            for metric in ("recall", "precision")
        }
        curves[str(problem)] = list(zip(of["recall"], of["precision"], strict=True))
    file = settings.picture("frontier.png", partial(drawing.save, drawing.scatter_frontier(curves)))
    text = (
        "One optimisation for every starting bandwidth, all else at MSD's setting; a point each. Dotted: "
        "0.97 and 0.60."
    )
    caption = f"Starts {', '.join(map(str, scale.starts))}, one seed."
    return Section("frontier", "Precision against recall", text, measurements, [(file, caption)])


def annealing(settings: Settings) -> Section:
    """Steps to the highest mode over the separation of modes, for every bandwidth schedule."""
    measurements = law.annealing_steps(settings.seeds, settings.save)
    curves = {m: law.curve(measurements, m) for m in law.FEATURES}
    file = settings.picture("annealing.png", partial(drawing.save, drawing.annealing_curves(curves)))
    fits = "; ".join(
        f"{method}: {law.equation(method, offset, slope)} (within {worst:.0%})"
        for method, (offset, slope, worst) in law.laws(measurements).items()
    )
    text = (
        "Exact mean shift from a start at every mode of a binary tree of modes, K being the widest "
        "separation over the narrowest: the fewest steps that bring "
        f"{law.ARRIVED:.0%} of the starts to the highest mode, λ falling from 2 K to 1, the modes' width "
        "(separations are 4 to 4 K). A constant λ of 1 never does so by exact shifts (∞); with draws of the "
        "product in place of their mean it escapes by chance, here from the lower of two modes, median over "
        f"100 points. Fits: {fits}."
    )
    return Section("annealing", "Annealing law", text, measurements, [(file, "Fewest steps, by schedule.")])


def stopping(settings: Settings) -> Section:
    """Whether the criterion of convergence ends an optimisation, and at its best."""
    scale = replace(settings.scale, grid=min(settings.scale.grid, 24))
    measurements = convergence.stopping_points(settings.seeds, scale, settings.save)
    text = (
        f"Mean shift of {scale.grid**2} points, y becoming x', under the exact denoiser. λ falls by "
        f"convergence from {BANDWIDTH.start:g} to {BANDWIDTH.end:g}; a point stops once λ is at its end and "
        f"the averaged shift is at most a threshold times λ, or after {scale.steps} steps."
    )
    return Section("stopping", "Stopping by convergence", text, measurements)


def scan(settings: Settings) -> Section:
    """Every method of the paper's Table 1 over the settings that the paper leaves open, against it."""
    problem, small = Problem("fractal"), replace(settings.scale, grid=min(settings.scale.grid, 16))
    tried, mark = set_ups(), ", nearest"
    first = scanned(tried, problem, 1, small, settings.save)
    chosen = nearest(tried, first)
    again = scanned(chosen, problem, settings.seeds, small, settings.save, mark)
    marks, missed = ", ".join(f"{metric} {width:g}" for metric, width in TOLERANCES.items()), misses(again)
    text = (
        f"{len(tried)} set-ups under the fractal's exact denoiser, Adam, {small.grid**2} points, one seed; "
        "each method's nearest to the paper over all seeds. "
        f"Tolerances: {marks} (NLL a tenth where that is more). "
        f"{'; '.join(verdict(s, tried, missed[f'{s}{mark}']) for s in chosen)}."
    )
    return Section("scan", "The paper's set-up", text, [*first, *again])
