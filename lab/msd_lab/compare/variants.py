"""Variants of a config: the choices that mean-shift distillation leaves open, by group."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from threestudio_msd.files import save_text

GUIDANCE, SAMPLER, BANDWIDTH = "system.guidance", "system.guidance.sampler", "system.guidance.bandwidth"

Settings = dict[str, Any]
"""Values, or whole blocks, by config key."""


def split(**settings: Any) -> Settings:
    """The paper's sampler, its kernel in an interval of noise levels, or, with None, in all of them."""
    chosen = {"type": "split", "steps": 8, "kernel_interval": [0.3, 5.0], **settings}
    return {SAMPLER: {name: value for name, value in chosen.items() if value is not None}}


def posterior(**settings: Any) -> Settings:
    """The sampler without a bias."""
    return {SAMPLER: {"type": "posterior", "steps": 8, **settings}}


def bandwidth(kind: str, start: float = 8.0, end: float = 1.0, **settings: Any) -> Settings:
    return {BANDWIDTH: {"type": kind, "start": start, "end": end, **settings}}


def last_fit(part: float) -> Settings:
    return {f"{GUIDANCE}.last_fit": part}


FOURIER = {
    "system.geometry.encoding_type": "msd-fourier-encoding",
    "system.geometry.encoding": {"n_frequencies": 64, "scale": 4.0},
}
"""Images of Fourier features, in the place of the hash grids of the configs."""

BASE = {**bandwidth("exponential"), f"{GUIDANCE}.stop_threshold": 0.0, **last_fit(0.0)}
"""What all variants begin with: a lambda that falls over all the steps of a run, whatever they are."""

GROUPS: dict[str, dict[str, Settings]] = {
    # Fig. 9: the kernel in a limited interval of noise levels, and its centre moved along the inverse ODE
    "heuristics": {
        "plain": split(kernel_interval=None),
        "interval": split(),
        "inversion": split(kernel_interval=None, centre="inversion"),
        "both": split(centre="inversion"),
    },
    "interval": {
        "all": split(kernel_interval=None),
        **{
            f"{low:g} to {high:g}": split(kernel_interval=[low, high])
            for low, high in ((0.3, 10.0), (0.3, 5.0), (0.3, 2.0), (0.0, 5.0))
        },
    },
    "sampler": {
        "posterior": posterior(),
        "posterior-1st-order": posterior(order=1),
        "posterior-from-inversion": posterior(start="inversion"),
        "split": split(),
        "tweedie": {SAMPLER: {"type": "tweedie"}},
    },
    "solver": {solver: split(solver=solver) for solver in ("ddim", "dpmpp-2m", "heun")},
    "steps": {str(steps): split(steps=steps) for steps in (2, 4, 8, 16)},
    # Fig. 5, with the adaptive bandwidth beside the schedules
    "bandwidth": {
        **{kind: bandwidth(kind) for kind in ("exponential", "linear", "cosine")},
        "constant": bandwidth("constant", start=1.0, end=1.0),
        "adaptive": bandwidth("adaptive"),
        "adaptive, stopping": {**bandwidth("adaptive"), f"{GUIDANCE}.stop_threshold": 0.15},
    },
    "bandwidth-start": {str(start): bandwidth("exponential", start=start) for start in (2.0, 4.0, 8.0, 16.0)},
    "bandwidth-end": {str(end): bandwidth("exponential", end=end) for end in (0.1, 0.3, 1.0, 3.0)},
    "refresh": {str(every): {f"{GUIDANCE}.refresh_every": every} for every in (1, 2, 4, 8)},
    # what keeps an image from its target
    "fit": {
        "Fourier features": FOURIER,
        "Fourier features, last fit": FOURIER | last_fit(0.25),
        "hash grid": {},
        "hash grid, last fit": last_fit(0.25),
        "hash grid, long last fit": last_fit(0.5),
    },
    "noise": {
        name: {f"{GUIDANCE}.fixed_noise": fixed} for name, fixed in (("fresh", False), ("fixed", True))
    },
    # what trades fidelity for diversity; of rows "KNOB at VALUE" the report draws a frontier
    "diversity": {
        "default": split(),
        **{f"upper bound at {high:g}": split(kernel_interval=[0.3, high]) for high in (2.0, 10.0, 20.0)},
        **{f"last λ at {end:g}": bandwidth("exponential", end=end) for end in (0.3, 3.0)},
        **{f"draws at {draws}": {f"{GUIDANCE}.draws_per_estimate": draws} for draws in (2, 4)},
    },
    "scale": {str(scale): {f"{GUIDANCE}.guidance_scale": scale} for scale in (1.0, 2.0, 4.0, 7.5)},
}
"""Variants by label, by group."""


def write_variants(config: str, group: str, folder: Path) -> list[str]:
    """Write a config for every variant of a group.

    Args:
        config: The YAML file that the variants depart from.
        group: One of `GROUPS`.
        folder: Where the configs go.

    Returns:
        `LABEL=FILE` each, as `python -m msd_lab compare --configs` takes them.
    """
    words = []
    for label, settings in GROUPS[group].items():
        variant = OmegaConf.load(config)
        for key, value in (BASE | settings).items():
            OmegaConf.update(variant, key, value, merge=False)
        save_text(OmegaConf.to_yaml(variant), folder / f"{label}.yaml")
        words.append(f"{label}={folder / f'{label}.yaml'}")
    return words
