"""The same search for every method: as many trials of as many settings, on prompts and seeds of their own."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from omegaconf import OmegaConf
from threestudio_msd.errors import UserError
from torch.quasirandom import SobolEngine

from .methods import Method
from .results import Figures, Rows

Space = Mapping[str, tuple[float, float]]
"""Settings and their bounds, on logarithmic axes."""

SPACE: Space = {
    "system.guidance.guidance_scale": (1.0, 101.0),
    "system.optimizer.args.lr": (0.003, 0.1),
}
"""The settings that are searched for every method."""

OWN: Mapping[str, Space] = {"msd-guidance": {"system.guidance.bandwidth.end": (0.3, 3.0)}}
"""A further one, the finest or coarsest scale, by guidance type."""

TIMES: Space = {"system.guidance.max_step_percent": (0.3, 0.98)}
"""The same of methods that add noise to renders."""

FIRST_SEED = 500
"""The first seed of the search, whose seeds are thereby not those of the comparison that follows."""

FIGURE = "frechet_ddim"
"""The figure that the best trial minimises: in units of DDIM's own and averaged over all extractors, so that
no method is tuned to one network.
"""


def trials(method: Method, count: int) -> list[Method]:
    """A method as it is, and `count - 1` times with settings of its `space`, the same points for each.

    Raises:
        UserError: There would be nothing to choose from.
    """
    if count < 2:
        raise UserError(f"--search: expected 2 or more trials of a method, got {count}")
    axes = space(method)
    points = SobolEngine(len(axes)).draw(count)[1:].tolist()  # the first is the corner of all least values
    settings = [()] + [
        tuple(
            f"{key}={math.exp(math.log(low) + part * math.log(high / low)):.3g}"
            for (key, (low, high)), part in zip(axes.items(), point, strict=True)
        )
        for point in points
    ]
    return [
        replace(method, label=f"{method.label} {i}", overrides=(*method.overrides, *chosen))
        for i, chosen in enumerate(settings)
    ]


def space(method: Method) -> Space:
    """What is searched for a method: as many settings for each."""
    guidance = OmegaConf.select(OmegaConf.load(method.config), "system.guidance_type")
    return {**SPACE, **OWN.get(guidance, TIMES)}


def best(method: Method, tried: Sequence[Method], rows: Rows, ddim: Figures) -> Method:
    """A method with the settings of the best of its trials; `ddim` are the figures of DDIM images.

    Raises:
        UserError: None of them was finished and measured.
    """
    found = {
        trial: _distance(rows[trial.label].figures, ddim)
        for trial in tried
        if trial.label in rows and FIGURE in rows[trial.label].figures
    }
    known = [trial for trial, value in found.items() if not math.isnan(value)]
    if not known:
        raise UserError(f"--search: {method.label}: no trial was finished and has a figure {FIGURE}")
    return replace(method, overrides=min(known, key=found.__getitem__).overrides)


def _distance(figures: Figures, ddim: Figures) -> float:
    names = [name for name in figures if name.partition("@")[0] == FIGURE]
    return sum(figures[name].mean / ddim[name].mean for name in names) / len(names)


def require_apart(prompts: Sequence[str], others: Sequence[str]) -> None:
    """Settings may not be chosen on what they are measured on.

    Raises:
        UserError: The lists of prompts share one.
    """
    shared = [prompt for prompt in prompts if prompt in others]
    if shared:
        raise UserError(
            f"--search-prompts: {shared[0]!r} is among --prompts too; settings are chosen on others"
        )
