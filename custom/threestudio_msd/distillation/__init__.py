"""The mathematics of mean-shift distillation and its siblings, on plain tensors: torch
only.

Start with `protocols`, which has the interfaces. Every estimator has a file (`msd`,
`sds`, `vsd`, `sdi`, `csd`, `ism`), built on product samplers, bandwidths, solvers and
noise levels. Everything is in variance-exploding form, z = x + sigma n.
"""

from .bandwidth import SCHEDULES, Adaptive, Constant, Cosine, Exponential, Linear, converged, smoothed
from .csd import CSD
from .inversion import Inversion, invert, ladder
from .ism import ISM
from .msd import MSD
from .noise import SampleNoise, SharedNoise, seed_from, uniform, uniform_sigma
from .prior import GuidedPrior, PairPrior, PlainPrior
from .product import SAMPLERS, ExactScore, Posterior, ProductDenoiser, Split, Tweedie, kernel_step
from .protocols import (
    Bandwidth,
    Denoiser,
    Estimate,
    Estimator,
    Noise,
    Prior,
    Product,
    ProductSampler,
    Schedule,
    State,
)
from .schedule import KarrasSchedule, TableSchedule, karras_sigmas
from .sdi import SDI
from .sds import SDS
from .solvers import SOLVERS, sample
from .tensors import NonFiniteError, expand, on_device, require_all_finite, require_finite, rms
from .timed import sds_weight
from .vsd import VSD

__all__ = [
    "CSD",
    "ISM",
    "MSD",
    "SAMPLERS",
    "SCHEDULES",
    "SDI",
    "SDS",
    "SOLVERS",
    "VSD",
    "Adaptive",
    "Bandwidth",
    "Constant",
    "Cosine",
    "Denoiser",
    "Estimate",
    "Estimator",
    "ExactScore",
    "Exponential",
    "GuidedPrior",
    "Inversion",
    "KarrasSchedule",
    "Linear",
    "Noise",
    "NonFiniteError",
    "PairPrior",
    "PlainPrior",
    "Posterior",
    "Prior",
    "Product",
    "ProductDenoiser",
    "ProductSampler",
    "SampleNoise",
    "Schedule",
    "SharedNoise",
    "Split",
    "State",
    "TableSchedule",
    "Tweedie",
    "converged",
    "expand",
    "invert",
    "karras_sigmas",
    "kernel_step",
    "ladder",
    "on_device",
    "require_all_finite",
    "require_finite",
    "rms",
    "sample",
    "sds_weight",
    "seed_from",
    "smoothed",
    "uniform",
    "uniform_sigma",
]
