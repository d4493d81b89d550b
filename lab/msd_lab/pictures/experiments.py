"""What samplers and methods do on the exact prior of real pictures, in 12,288 dimensions.

Each experiment gives rows: a name and figures that are measured once a seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import inf

import torch
from threestudio_msd.distillation import (
    CSD,
    ISM,
    MSD,
    SDI,
    SDS,
    VSD,
    Bandwidth,
    Estimator,
    ExactScore,
    Exponential,
    PlainPrior,
    Posterior,
    ProductSampler,
    SharedNoise,
    Split,
    Tweedie,
    seed_from,
)
from torch import Tensor

from ..toy.optimise import Distilled, distil
from .data import SIDE
from .prior import SCHEDULE, PictureDenoiser, picture_places, picture_prior

KEYWORD = "animal"
DRAWS, PARTICLES, STEPS = 64, 16, 100
BANDWIDTHS = (12.0, 18.0, 25.0, 40.0)
AT_PICTURE = 0.05
"""A particle is at a picture if its root mean square distance to it is below this, of values in [-1, 1]."""
SHAPE = (3, SIDE, SIDE)

Figures = dict[str, float]
Rows = Iterator[tuple[str, Figures]]

SAMPLERS: dict[str, ProductSampler] = {
    "split, 16 steps": Split(steps=16),
    "split, 64 steps": Split(steps=64),
    "posterior, 4 steps": Posterior(steps=4),
    "posterior, 16 steps": Posterior(steps=16),
    "exact-score, 4 steps": ExactScore(steps=4),
    "exact-score, 16 steps": ExactScore(steps=16),
}


def freedoms(lam: float) -> dict[str, ProductSampler]:
    """What the paper leaves open of its sampler, at a bandwidth; `exact-score` for comparison."""
    return {
        "exact-score": ExactScore(steps=32),
        "split, as published": Split(steps=32),
        **{
            f"split, kernel below {factor:g} λ": Split(steps=32, kernel_interval=(0.0, factor * lam))
            for factor in (0.5, 1.0, 1.5, 2.0)
        },
        "split, kernel above λ": Split(steps=32, kernel_interval=(lam, inf)),
        **{
            f"split, first level {factor:g} λ": Split(steps=32, sigma_max=factor * lam)
            for factor in (1.0, 1.5, 2.0)
        },
        "split, noise-scaled centre": Split(steps=32, centre="inversion", inversion_steps=32),
        "split, the same below λ": Split(
            steps=32, centre="inversion", inversion_steps=32, kernel_interval=(0.0, lam)
        ),
        "split, Heun": Split(steps=32, solver="heun"),
        "split, DPM-Solver++(2M)": Split(steps=32, solver="dpmpp-2m"),
        "split, even levels": Split(steps=128, rho=1.0),
    }


def centres(pictures: Tensor, seed: int) -> dict[str, Tensor]:
    """Where the mean shift is asked for: a blend of two pictures that a seed draws, white and grey."""
    two = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(seed))[:2]
    white = torch.ones_like(pictures[:1])
    return {"blend": pictures[two].mean(0, keepdim=True), "white": white, "grey": 0 * white}


def draws_of(sampler: ProductSampler, lam: float, y: Tensor, denoiser: PictureDenoiser, seed: int) -> Figures:
    """Hold a sampler's draws around y against the exact product density.

    Returns:
        `error` of the mean, relative to the root mean square distance of exact draws from y; `noise`: what
        `DRAWS` independent exact draws leave of it; `pictures`: how many different ones are drawn;
        `total variation` between the share of draws at a picture and its exact probability; `spread` of the
        draws over that of the density.
    """
    noise = SharedNoise(seed_from("pictures", seed))
    x = sampler(y.expand(DRAWS, *SHAPE), torch.tensor(lam), PlainPrior(denoiser, SCHEDULE), noise).x
    probability, mean = denoiser.weights(y, lam)[0], denoiser(y, lam)
    variance = probability @ (denoiser.pictures - mean).flatten(1).square().sum(1)
    radius = ((mean - y).square().sum() + variance).sqrt()
    _, places = denoiser.nearest(x)
    share = torch.bincount(places, minlength=len(probability)) / DRAWS
    return {
        "error": float((x.mean(0) - mean).norm() / radius),
        "noise": float((variance / DRAWS).sqrt() / radius),
        "pictures": float((share > 0).sum()),
        "total variation": float((share - probability).abs().sum() / 2),
        "spread": float((x.var(0).sum() / variance).sqrt()),
    }


def bias(seed: int) -> Rows:
    """Every sampler at every bandwidth, around three centres."""
    denoiser = picture_prior(KEYWORD).conditional
    for lam in BANDWIDTHS:
        for place, y in centres(denoiser.pictures, seed).items():
            counted = float(denoiser.counted(y, lam))
            for name, sampler in SAMPLERS.items():
                figures = draws_of(sampler, lam, y, denoiser, seed)
                yield f"{name} | λ {lam:g} | {place}", {"counted": counted, **figures}


def split(seed: int) -> Rows:
    """The freedoms of the paper's sampler, at two bandwidths; the mean over three centres."""
    denoiser = picture_prior(KEYWORD).conditional
    for lam in (12.0, 25.0):
        for name, sampler in freedoms(lam).items():
            found = [
                draws_of(sampler, lam, y, denoiser, seed) for y in centres(denoiser.pictures, seed).values()
            ]
            yield f"{name} | λ {lam:g}", {key: sum(f[key] for f in found) / len(found) for key in found[0]}


class OwnDenoiser:
    """The exact phi of VSD: the ideal denoiser of the particles themselves, where its training would end."""

    def __init__(self, y: Tensor) -> None:
        self.step(y)

    def denoise(self, z: Tensor, sigma: Tensor) -> Tensor:
        """D(z, sigma) of the particles' distribution."""
        return self.exact(z, sigma)

    def step(self, y: Tensor, noise: object = None) -> None:
        """Follow the particles."""
        self.exact = PictureDenoiser(y.detach().clone())


def falling() -> Bandwidth:
    """Lambda from where most pictures count to where one does."""
    return Exponential(40.0, 2.0)


METHODS: Mapping[str, Callable[..., Estimator]] = {
    "SDS": SDS,
    "VSD, exact phi": VSD,
    "SDI": SDI,
    "CSD": CSD,
    "ISM": ISM,
    "MSD, split": lambda: MSD(Split(steps=8), falling()),
    "MSD, posterior": lambda: MSD(Posterior(steps=8), falling()),
    "MSD, exact-score": lambda: MSD(ExactScore(steps=8), falling()),
    "MSD, tweedie": lambda: MSD(Tweedie(), falling()),
}


def start(seed: int) -> Tensor:
    """Particles that begin grey with a little noise, `[PARTICLES, 3, 64, 64]`."""
    return 0.1 * torch.randn(PARTICLES, *SHAPE, generator=torch.Generator().manual_seed(seed))


def arrived(y: Tensor, everything: PictureDenoiser) -> Figures:
    """Say where particles are: distance to the nearest picture, share at one, which, and of the keyword."""
    distance, places = everything.nearest(y)
    wanted = set(picture_places(KEYWORD))
    at = distance < AT_PICTURE
    return {
        "distance": float(distance.mean()),
        "at a picture": float(at.float().mean()),
        "different": float(len(set(places[at].tolist()))),
        "keyword": sum(int(place) in wanted for place in places) / len(y),
    }


def ends(seed: int) -> Rows:
    """Where each method leaves particles, at guidance scales 1 and 7.5 and two learning rates of Adam."""
    for scale in (1.0, 7.5):
        prior = picture_prior(KEYWORD, scale)
        for name, make in METHODS.items():
            for lr in (0.03, 0.1):
                y, noise = start(seed), SharedNoise(seed_from("ends", seed))
                phi = OwnDenoiser(y) if make is VSD else None
                estimator = make(phi.denoise) if phi else make()
                path = distil(y, estimator, prior, noise, STEPS, lr, record_every=5, phi=phi)
                figures = arrived(path.points, prior.unconditional)
                yield f"{name} | w {scale:g} | lr {lr:g}", {**figures, **_arrival(path, prior.unconditional)}


def _arrival(path: Distilled, everything: PictureDenoiser) -> Figures:
    """NFE of a run, and of the part after which nine particles of ten are at a picture; inf if never."""
    there = [float((everything.nearest(y)[0] < AT_PICTURE).float().mean()) >= 0.9 for y in path.path]
    first = there.index(True) / (len(there) - 1) if True in there else inf
    return {"NFE": float(path.nfe), "NFE to arrive": path.nfe * first}


def annealing(seed: int) -> Rows:
    """The exact mean-shift iteration y <- D(y, lambda), lambda falling by a factor a step to 2.

    The density's height at the picture where a particle ends (log p_12 of it, less that of the highest
    picture) says how far down it is from the highest mode at a bandwidth of 12.
    """
    denoiser = picture_prior(KEYWORD).conditional
    height = _height(denoiser, denoiser.pictures, 12.0)
    for first in (6.0, 12.0, 25.0, 50.0):
        for steps in (1, 3, 10, 30):
            y = torch.cat([start(seed), _corrupted(denoiser.pictures, seed)])
            for lam in torch.logspace(torch.tensor(first).log10(), torch.tensor(2.0).log10(), steps + 1)[:-1]:
                y = denoiser(y, lam)
            y = denoiser(y, 2.0)
            distance, places = denoiser.nearest(y)
            at = distance < AT_PICTURE
            yield (
                f"λ from {first:g} | {steps + 1} steps",
                {
                    "at a picture": float(at.float().mean()),
                    "different": float(len(set(places[at].tolist()))),
                    "height": float((height[places] - height.max()).mean()),
                },
            )


def _height(denoiser: PictureDenoiser, y: Tensor, lam: float) -> Tensor:
    apart = torch.cdist(y.flatten(1), denoiser.pictures.flatten(1))
    return torch.logsumexp(-(apart**2) / (2 * lam**2), 1)


def _corrupted(pictures: Tensor, seed: int) -> Tensor:
    """Sixteen pictures half way to grey under noise of a deviation of .3."""
    generator = torch.Generator().manual_seed(seed)
    chosen = pictures[torch.randperm(len(pictures), generator=generator)[:PARTICLES]]
    return chosen / 2 + 0.3 * torch.randn(chosen.shape, generator=generator)


EXPERIMENTS: dict[str, Callable[[int], Rows]] = {
    "bias": bias,
    "split": split,
    "ends": ends,
    "annealing": annealing,
}
