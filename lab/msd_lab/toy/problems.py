"""What the toys compare: problems, densities seen through denoisers; methods, estimators at one setting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

from threestudio_msd.distillation import (
    MSD,
    SDI,
    SDS,
    VSD,
    Adaptive,
    Bandwidth,
    Estimator,
    Exponential,
    PairPrior,
    PlainPrior,
    Posterior,
    Prior,
    Split,
    Tweedie,
)

from .densities import DENSITIES, GaussianMixture, fractal
from .learned import GUIDE, DensityNetwork, Progress, Training, learned
from .optimise import SCHEDULE

GUIDANCE = {"none": 1.0, "cfg": 4.0, "autoguidance": 3.0}
"""Guidance weights w of Eq. 13 (Karras et al. 2024, appendix C)."""


@dataclass(frozen=True)
class Problem:
    """A column of a table.

    Attributes:
        density: A name of `DENSITIES`.
        denoiser: `ideal`, the exact one of the mixture, or `learned`.
        guidance: `none`, `cfg` or `autoguidance`; the last two on the fractal's learned denoiser.
    """

    density: str
    denoiser: str = "ideal"
    guidance: str = "none"

    def __str__(self) -> str:
        return f"{self.density}, {self.denoiser}" + ("" if self.guidance == "none" else f" + {self.guidance}")

    def target(self) -> GaussianMixture:
        """The exact density."""
        return built(self.density)

    def networks(self, training: Training) -> list[tuple[GaussianMixture, Training]]:
        """What has to be learned first: the denoiser, which VSD's phi starts from too, and its guide."""
        wanted = [(self.target(), training)]
        guide = replace(training, width=GUIDE.width, steps=min(GUIDE.steps, training.steps))
        if self.guidance == "cfg":
            wanted.append((fractal("AB", name="fractal-both"), guide))
        elif self.guidance == "autoguidance":
            wanted.append((self.target(), guide))
        return wanted

    def prior(self, training: Training, progress: Progress | None = None) -> tuple[Prior, DensityNetwork]:
        """The prior, and the network that VSD's phi starts from.

        SDI inverts at the mirrored scale 2 - w, eps_cond - (w - 1)(eps_cond - eps_uncond), as its authors do.
        """
        network, *guides = (
            learned(density, how, progress=progress) for density, how in self.networks(training)
        )
        if self.denoiser == "ideal":
            return PlainPrior(self.target().denoise, SCHEDULE), network
        if not guides:
            return PlainPrior(network.denoise, SCHEDULE), network
        return PairPrior(network.denoise, guides[0].denoise, SCHEDULE, GUIDANCE[self.guidance]), network


@cache
def built(density: str) -> GaussianMixture:
    """A density of `DENSITIES`, made once in a process."""
    return DENSITIES[density]()


TABLE1 = (
    Problem("fractal", "ideal"),
    Problem("fractal", "learned"),
    Problem("fractal", "learned", "cfg"),
    Problem("fractal", "learned", "autoguidance"),
)
TABLE2 = tuple(
    Problem(density, denoiser) for density in ("spiral", "pinwheel") for denoiser in ("ideal", "learned")
)
TABLE3 = tuple(
    Problem(density, denoiser)
    for density in ("fractal", "spiral", "pinwheel")
    for denoiser in ("ideal", "learned")
)

BANDWIDTH = Exponential(0.5, 0.03)


def msd(bandwidth: Bandwidth = BANDWIDTH, steps: int = 4) -> MSD:
    """Mean-shift distillation of sixteen NFE an estimate: by default four draws by four steps each."""
    return MSD(Posterior(steps=steps), bandwidth, draws_per_estimate=16 // steps)


METHODS: dict[str, Callable[..., Estimator]] = {
    "SDS": SDS,
    "VSD": VSD,
    "SDI": SDI,
    "MSD": msd,
    "MSD adaptive": lambda: msd(
        Adaptive(BANDWIDTH.start, BANDWIDTH.end, rate=0.8, tau=0.2, patience=10), steps=8
    ),
    "MSD split": lambda: MSD(Split(), BANDWIDTH),
    "MSD tweedie": lambda: MSD(Tweedie(), BANDWIDTH),
}
"""Every method by its name in tables; VSD's takes its phi."""

LEARNING_RATES = {name: 0.03 if name == "VSD" else 0.1 for name in METHODS}
"""Adam's learning rate; a baseline's is that of 0.1, 0.03 and 0.01 with the most precision on the fractal."""
