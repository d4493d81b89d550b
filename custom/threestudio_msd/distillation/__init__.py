"""The mathematics of mean-shift distillation and its siblings, on plain tensors: torch only.

A denoiser is a callable `(z, sigma) -> x0`; an estimator maps renders to gradients; product samplers,
bandwidths, solvers and noise levels are the parts an estimator is made of. Everything is in
variance-exploding form, z = x + sigma n.
"""

from .bandwidth import SCHEDULES, Adaptive, Bandwidth, Constant, Cosine, Exponential, Linear, converged
from .estimators import MSD, SDI, SDS, VSD, Estimate, Estimator, sds_weight
from .inversion import Inversion, invert, ladder
from .noise import Noise, SampleNoise, SharedNoise, seed_from
from .product import SAMPLERS, Posterior, Prior, Product, ProductSampler, Split, Tweedie, kernel_step
from .schedule import KarrasSchedule, Schedule, TableSchedule, karras_sigmas
from .solvers import SOLVERS, Denoiser, sample
from .tensors import NonFiniteError, expand, require_finite, rms

__all__ = [
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
    "Exponential",
    "Inversion",
    "KarrasSchedule",
    "Linear",
    "Noise",
    "NonFiniteError",
    "Posterior",
    "Prior",
    "Product",
    "ProductSampler",
    "SampleNoise",
    "Schedule",
    "SharedNoise",
    "Split",
    "TableSchedule",
    "Tweedie",
    "converged",
    "expand",
    "invert",
    "karras_sigmas",
    "kernel_step",
    "ladder",
    "require_finite",
    "rms",
    "sample",
    "sds_weight",
    "seed_from",
]
