"""Problems (a density and its denoiser), methods, and the paper's figures for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

from threestudio_msd.distillation import (
    MSD,
    SDI,
    SDS,
    VSD,
    Adaptive,
    Bandwidth,
    Estimator,
    Exponential,
    KarrasSchedule,
    PairPrior,
    PlainPrior,
    Posterior,
    Prior,
    Split,
    Tweedie,
)

from .densities import DENSITIES, GaussianMixture, fractal
from .learned import GUIDE, DensityNetwork, Training, learned

# The toys' noise levels (Karras et al. 2024, appendix C).
SCHEDULE = KarrasSchedule(0.002, 5.0, 7.0)
# Guidance weights w of Eq. 13 (Karras et al. 2024, appendix C).
GUIDANCE = {"none": 1.0, "cfg": 4.0, "autoguidance": 3.0}


@dataclass(frozen=True)
class Problem:
    """A column of a table.

    Attributes:
        density: A name of `DENSITIES`.
        denoiser: `ideal`, the exact one of the mixture, or `learned`.
        guidance: `none`, or on the fractal's learned denoiser `cfg` or `autoguidance`.
    """

    density: str
    denoiser: str = "ideal"
    guidance: str = "none"

    def __str__(self) -> str:
        return f"{self.density}, {self.denoiser}" + ("" if self.guidance == "none" else f" + {self.guidance}")

    def target(self) -> GaussianMixture:
        return DENSITIES[self.density]()

    def networks(self, training: Training) -> list[tuple[GaussianMixture, Training]]:
        """Networks to train first: the denoiser (VSD's phi starts from it) and its guide."""
        network = (self.target(), training)
        if self.guidance == "none":
            return [network]
        guide = replace(training, width=GUIDE.width, steps=min(GUIDE.steps, training.steps))
        both = self.guidance == "cfg"
        return [network, (fractal("AB", name="fractal-both") if both else self.target(), guide)]

    def prior(self, training: Training) -> tuple[Prior, DensityNetwork]:
        """The prior, and the network that VSD's phi starts from.

        SDI inverts at the mirrored scale 2 - w as its authors do, that is with
        eps_cond - (w - 1)(eps_cond - eps_uncond).
        """
        network, *guides = (learned(density, how) for density, how in self.networks(training))
        if guides:
            return PairPrior(network.denoise, guides[0].denoise, SCHEDULE, GUIDANCE[self.guidance]), network
        exact = self.denoiser == "ideal"
        return PlainPrior(self.target().denoise if exact else network.denoise, SCHEDULE), network


METRICS = ("nll", "precision", "recall")
# The paper's figures by problem, method and metric.
Published = Mapping[tuple[Problem, str, str], float]


def published(problems: Sequence[Problem], metrics: Sequence[str], text: str) -> Published:
    """Read a table of arXiv 2502.15989: a line a method, metric by metric."""
    rows = [line.rsplit(maxsplit=len(metrics) * len(problems)) for line in text.strip().splitlines()]
    return {
        (problem, method, metric): float(figure)
        for method, *figures in rows
        for (metric, problem), figure in zip(product(metrics, problems), figures, strict=True)
    }


TABLE1 = (
    Problem("fractal", "ideal"),
    Problem("fractal", "learned"),
    Problem("fractal", "learned", "cfg"),
    Problem("fractal", "learned", "autoguidance"),
)
PUBLISHED1 = published(
    TABLE1,
    METRICS,
    """
DDIM   -1.85 -1.51 -1.59 -1.67   0.97 0.95 0.97 0.96   0.93 0.96 0.44 0.79
SDS    36.15  9.12 15.96 11.33   0.08 0.01 0.17 0.04   0.03 0.00 0.03 0.03
VSD     9.97  9.88 18.97 11.52   0.05 0.10 0.21 0.03   0.02 0.05 0.05 0.03
SDI    24.28 -2.87 27.37  0.65   0.27 0.97 0.30 0.51   0.01 0.12 0.48 0.51
MSD    -1.32 -2.02 -1.15 -1.99   0.92 0.97 0.94 0.97   0.33 0.42 0.40 0.43
""",
)
TABLE2 = tuple(Problem(*names) for names in product(("spiral", "pinwheel"), ("ideal", "learned")))
PUBLISHED2 = published(
    TABLE2,
    METRICS,
    """
DDIM   -1.39 -1.32 -1.19 -1.10   0.97 0.96 0.97 0.97   0.93 0.96 0.94  0.97
SDS    30.37  8.13  2.29  2.00   0.02 0.04 0.85 0.90   0.03 0.11 0.03  0.01
VSD    10.15  8.90  3.34  2.28   0.04 0.07 0.65 0.97   0.09 0.14 0.04  0.02
SDI    35.64 19.16 28.31 17.33   0.10 0.12 0.17 0.51   0.90 0.42 0.001 0.15
MSD    -1.28 -1.51 -1.94 -2.19   0.99 0.98 0.99 0.99   0.18 0.18 0.01  0.13
""",
)
TABLE3 = tuple(Problem(*names) for names in product(("fractal", "spiral", "pinwheel"), ("ideal", "learned")))
PUBLISHED3 = published(
    TABLE3,
    ("efficiency",),
    """
SDS          -7.37 -6.89 -8.48 -7.57 -7.82 -6.99
VSD          -5.92 -3.83 -6.85 -4.45 -6.36 -3.93
SDI          14.18 14.21 13.94 14.17 14.19 14.18
MSD split    13.44  7.65 13.38  6.32 13.76  7.08
""",
)

BANDWIDTH = Exponential(0.5, 0.03)


def msd(bandwidth: Bandwidth = BANDWIDTH, steps: int = 4) -> MSD:
    """MSD with sixteen NFE an estimate: by default four draws of four steps each."""
    return MSD(Posterior(steps=steps), bandwidth, draws_per_estimate=16 // steps)


@dataclass(frozen=True)
class Method:
    """One way to move points.

    Attributes:
        make: Makes the estimator; VSD takes its phi. None samples by DDIM instead.
        noise: Key of its noise: the noise follows from the seed and this.
        lr: Adam's learning rate, in the units of the plane.
        phi_lr: That of VSD's phi (Wang et al. 2023b).
        start: Where points begin: None on a grid over the view, a number on a grid of
            so many times its extent, 0 at draws of the standard normal distribution.
    """

    make: Callable[..., Estimator] | None
    noise: str
    lr: float = 0.1
    phi_lr: float | None = 1e-4
    start: float | None = None


_ADAPTIVE = Adaptive(BANDWIDTH.start, BANDWIDTH.end, rate=0.8, tau=0.2, patience=10)
# By their names in tables. A baseline's learning rate is the one of 0.1, 0.03 and 0.01
# with the most precision on the fractal.
METHODS = {
    "DDIM": Method(None, "DDIM"),
    "SDS": Method(SDS, "SDS"),
    "VSD": Method(VSD, "VSD", lr=0.03),
    "SDI": Method(SDI, "SDI"),
    "MSD": Method(msd, "MSD"),
    "MSD adaptive": Method(partial(msd, _ADAPTIVE, steps=8), "MSD adaptive"),
    "MSD split": Method(partial(MSD, Split(), BANDWIDTH), "MSD split"),
    "MSD tweedie": Method(partial(MSD, Tweedie(), BANDWIDTH), "MSD tweedie"),
}
