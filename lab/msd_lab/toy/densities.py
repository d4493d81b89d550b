"""2D densities as Gaussian mixtures, exact at every noise level sigma."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

# Points of the plane, or of a space of d dimensions.
Points = Float[Tensor, "N d"]

# One number a point.
PerPoint = Float[Tensor, "N"]

# A noise level sigma: a number, or one a point.
Level = float | Float[Tensor, ""] | Float[Tensor, "N"]

# Point-component pairs held at a time: bounds the memory, keeps chunks within the cache.
PAIRS = 2**18


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """A mixture of K Gaussians in d dimensions, in closed form at every noise level.

    At a level sigma, every method works on p * N(0, sigma^2 I): sigma^2 is added to the
    eigenvalues.

    Attributes:
        means: `[K, d]`.
        axes: Eigenvectors of the covariances, `[K, d, d]`; the second index is the vector.
        variances: Their eigenvalues, `[K, d]`; zeros make the empirical density of a
            sample, for sigma > 0.
        weights: `[K]`, summing to 1.
        view: The rectangle of interest, `((x0, y0), (x1, y1))`.
        name: Name in tables and files.

    Example:
        >>> pair = mixture(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), torch.eye(2).expand(2, 2, 2) * 0.01)
        >>> [round(float(x), 3) for x in pair.denoise(torch.tensor([[0.9, 0.0]]), 0.1)[0]]
        [0.95, 0.0]
    """

    means: Tensor
    axes: Tensor
    variances: Tensor
    weights: Tensor
    view: tuple[tuple[float, float], tuple[float, float]]
    name: str = "mixture"

    def __len__(self) -> int:
        return len(self.means)

    def logp(self, x: Points, sigma: Level = 0.0) -> PerPoint:
        """Log-density, in nats."""
        return torch.cat([self._terms(z, s)[0].logsumexp(1) for z, s in self._chunks(x, sigma)])

    def score(self, x: Points, sigma: Level = 0.0) -> Points:
        rows = []
        for z, s in self._chunks(x, sigma):
            logits, scaled = self._terms(z, s)
            share = logits.softmax(1)
            rows.append(-sum((share * a) @ self.axes[:, i] for i, a in enumerate(scaled)))
        return torch.cat(rows)

    def denoise(self, z: Points, sigma: Level) -> Points:
        """D(z, sigma) = E[x | z] = z + sigma^2 score(z, sigma), by Tweedie's formula."""
        return z + torch.as_tensor(sigma, dtype=z.dtype).reshape(-1, 1).square() * self.score(z, sigma)

    __call__ = denoise

    def sample(self, count: int, generator: torch.Generator, sigma: float = 0.0) -> Points:
        which = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        noise = torch.randn(count, self.means.shape[1], generator=generator)
        scaled = noise * (self.variances[which] + sigma**2).sqrt()
        return self.means[which] + torch.einsum("ni,nij->nj", scaled, self.axes[which])

    def moments(self) -> tuple[Float[Tensor, d], Float[Tensor, d]]:
        """Mean and standard deviation by coordinate."""
        mean = self.weights @ self.means
        within = torch.einsum("ki,kij->kj", self.variances, self.axes.square())
        return mean, (self.weights @ (within + (self.means - mean).square())).sqrt()

    def precisions(self) -> Float[Tensor, "K d d"]:
        return torch.einsum("kij,ki,kil->kjl", self.axes, 1 / self.variances, self.axes)

    def grid(self, size: int) -> Points:
        """Centres of `size` x `size` rectangles that tile the view, rows from below."""
        (x0, y0), (x1, y1) = self.view
        steps = (torch.arange(size) + 0.5) / size
        x, y = torch.meshgrid(x0 + steps * (x1 - x0), y0 + steps * (y1 - y0), indexing="xy")
        return torch.stack([x, y], -1).reshape(-1, 2)

    def _chunks(self, x: Tensor, sigma: float | Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        sigma = torch.as_tensor(sigma, dtype=x.dtype).reshape(-1, 1).expand(len(x), 1)
        size = max(PAIRS // len(self), 1)
        return zip(x.split(size), sigma.split(size), strict=True)

    def _terms(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Log of each weighted component, `[n, K]`; by axis, offset over variance."""
        noise = sigma[:1].square() if bool((sigma == sigma[0]).all()) else sigma.square()
        dim = self.means.shape[1]
        variances = [self.variances[:, axis] + noise for axis in range(dim)]  # each [1 or n, K]
        logits = self.weights.log() - 0.5 * (dim * math.log(2 * math.pi) + sum(v.log() for v in variances))
        scaled = []
        for axis, variance in enumerate(variances):
            u = self.axes[:, axis]
            offset = torch.addmm(-(self.means * u).sum(1), x, u.T)
            scaled.append(offset / variance)
            logits = torch.addcmul(logits, offset, scaled[-1], value=-0.5)
        return logits, scaled


def mixture(
    means: Tensor,
    covariances: Tensor,
    weights: Tensor | None = None,
    view: tuple | None = None,
    name: str = "mixture",
) -> GaussianMixture:
    """A mixture from covariance matrices.

    Args:
        means: `[K, d]`.
        covariances: `[K, d, d]`, symmetric and positive definite.
        weights: `[K]`, not negative; normalised here. Equal by default.
        view: See `GaussianMixture`; by default the means' bounding box and a quarter of it
            around.
        name: See `GaussianMixture`.

    Raises:
        ValueError: If the shapes disagree or a covariance is not positive definite.
    """
    weights = torch.ones(len(means)) if weights is None else weights
    if covariances.shape != (*means.shape, means.shape[1]) or weights.shape != means.shape[:1]:
        raise ValueError(
            f"shapes disagree: {tuple(means.shape)}, {tuple(covariances.shape)}, {tuple(weights.shape)}"
        )
    variances, vectors = torch.linalg.eigh(covariances.double())
    if not bool((variances > 0).all()):
        raise ValueError("a covariance is not positive definite")
    if view is None:
        low, high = means.min(0).values, means.max(0).values
        margin = 0.25 * (high - low).max()
        view = (tuple((low - margin).tolist()), tuple((high + margin).tolist()))
    return GaussianMixture(
        means.float(),
        vectors.mT.float().contiguous(),
        variances.float(),
        (weights / weights.sum()).float(),
        view,
        name,
    )


def ideal(samples: Tensor, like: GaussianMixture) -> GaussianMixture:
    """The ideal denoiser over a finite sample (Eq. 16), exact for every sigma > 0.

    Args:
        samples: Training samples, `[K, d]`.
        like: The density they come from, for its view.
    """
    count, dim = samples.shape
    return GaussianMixture(
        samples,
        torch.eye(dim).expand(count, dim, dim),
        torch.zeros(count, dim),
        torch.full((count,), 1 / count),
        like.view,
        f"{like.name}-{count}",
    )


def pushforward(
    chart: Callable[[Tensor], Tensor],
    latents: Tensor,
    stds: Sequence[float] | Tensor,
    weights: Tensor | None = None,
    noise: float = 0.0,
    name: str = "mixture",
) -> GaussianMixture:
    """A mixture along a map: Gaussians of a latent plane under the map's linearisation.

    Args:
        chart: The map, one latent point `[2]` to one point `[2]`.
        latents: Latent means, `[K, 2]`.
        stds: Latent standard deviations along the two coordinates, `[2]` or `[K, 2]`.
        weights: `[K]`; equal by default.
        noise: Standard deviation of isotropic noise added after the map.
        name: See `GaussianMixture`.
    """
    jacobians = torch.vmap(torch.func.jacrev(chart))(latents.double())
    spread = jacobians * torch.as_tensor(stds, dtype=torch.float64).expand(len(latents), 2)[:, None]
    covariances = spread @ spread.mT + noise**2 * torch.eye(2)
    return mixture(torch.vmap(chart)(latents.double()), covariances, weights, name=name)


def union(parts: Sequence[GaussianMixture], name: str) -> GaussianMixture:
    """The equal mixture of several densities."""
    join = lambda field: torch.cat([getattr(part, field) for part in parts])  # noqa: E731
    corners = torch.tensor([part.view for part in parts])
    view = (tuple(corners[:, 0].amin(0).tolist()), tuple(corners[:, 1].amax(0).tolist()))
    return GaussianMixture(
        join("means"), join("axes"), join("variances"), join("weights") / len(parts), view, name
    )


def _branches(
    rng: np.random.RandomState, position: np.ndarray, angle: float, depth: int, deepest: int
) -> Iterator[tuple]:
    """The branches of a tree, depth first: (position, direction, length, depth)."""
    length = 0.292 * 0.8**depth * (1 + 0.2 * rng.randn())
    direction = np.array([math.cos(angle), math.sin(angle)])
    yield position, direction, length, depth
    for sign in (1, -1):
        child = angle + sign * 0.7**depth * (1 + 0.2 * rng.randn())
        if depth < deepest:
            yield from _branches(rng, position + direction * length, child, depth + 1, deepest)


FRACTAL_VIEW = ((-0.95, -0.99), (0.98, 1.29))


def fractal(
    classes: str = "A",
    deepest: int = 4,
    trunks: tuple[float, float] = (90.0, 270.0),
    view: tuple | None = FRACTAL_VIEW,
    name: str = "fractal",
) -> GaussianMixture:
    """The density of Figure 1: eight thin Gaussians along every branch of a binary tree.

    Construction after Karras et al. 2024 (autoguidance), appendix C; MSD's has five
    levels of branches and vertical trunks.

    Args:
        classes: `"A"`, `"B"`, or `"AB"`, the unconditional density.
        deepest: Depth of the last branches, the trunk's being 0.
        trunks: Angles of the two trunks in degrees.
        view: See `GaussianMixture`; None is the bounding box and a margin.
        name: See `GaussianMixture`.
    """
    rng = np.random.RandomState(2)
    scale = np.array([1.3136, 1.3844])
    means, covariances, weights = [], [], []
    for label, degrees in zip("AB", trunks, strict=True):
        branches = list(_branches(rng, np.array([0.0030, 0.0325]), math.radians(degrees), 0, deepest))
        for position, u, length, depth in branches if label in classes else []:
            size = scale * length * 0.06
            thickness = 0.2 * 0.8**depth / length
            along = np.outer(u, u)
            covariance = (along + thickness**2 * (np.eye(2) - along)) * np.outer(size, size)
            for t in np.linspace(0.07, 0.93, 8):
                means.append((position + u * length * t) * scale)
                covariances.append(covariance)
                weights.append(length * 0.5**depth)
    return mixture(*(torch.tensor(np.array(x)) for x in (means, covariances, weights)), view=view, name=name)


def karras_fractal(classes: str = "A") -> GaussianMixture:
    """The fractal of Karras et al. 2024: seven levels, trunks at 45 and 225 degrees."""
    return fractal(classes, 6, (45.0, 225.0), view=None, name="karras-fractal")


def spiral(scale: float = 0.133, count: int = 128) -> GaussianMixture:
    """FFJORD's `2spirals` (Grathwohl et al. 2019): two arms, n = 3 pi sqrt(U).

    The scale is after the paper's NLL of DDIM samples; the arms' uniform offset U/2
    enters by its mean and variance.
    """
    u = (torch.arange(count) + 0.5) / count
    latents = torch.stack([u, torch.zeros(count)], 1)

    def arm(sign: float, latent: Tensor) -> Tensor:
        n = 3 * math.pi * latent[0].clamp(min=1e-9).sqrt()
        return sign * scale / 3 * torch.stack([0.25 - n * n.cos(), 0.25 + n * n.sin()])

    noise = scale * math.hypot(0.1, 0.5 / math.sqrt(12) / 3)
    arms = [pushforward(partial(arm, s), latents, (0.5 / count, 0.0), noise=noise) for s in (1.0, -1.0)]
    return union(arms, "spiral")


def pinwheel(scale: float = 0.35, arms: int = 5, count: int = 9) -> GaussianMixture:
    """FFJORD's `pinwheel` (Grathwohl et al. 2019): arms bent by 0.25 exp(radius).

    The paper's mixture is not published, but two of its NLLs are: DDIM samples have -1.19,
    and its best points -2.19, although a smooth pinwheel of entropy -1.19 nowhere exceeds a
    log-density of 2.16. Nine Gaussians an arm, three standard deviations apart and one of
    them at its centre, have an entropy of -1.19 at a scale of 0.35 and a peak of 2.38.
    """
    radii = torch.linspace(1 - 0.75, 1 + 0.75, count)
    std = 1.5 / (count - 1) / 3
    weights = (-((radii - 1) ** 2) / (2 * (0.3**2 - std**2))).exp()
    latents = torch.stack([radii, torch.zeros(count)], 1)

    def arm(k: int, latent: Tensor) -> Tensor:
        a = 2 * math.pi * k / arms + 0.25 * latent[0].exp()
        cos, sin = a.cos(), a.sin()
        return scale * torch.stack([latent[0] * cos + latent[1] * sin, latent[1] * cos - latent[0] * sin])

    parts = [pushforward(partial(arm, k), latents, (std, 0.1), weights) for k in range(arms)]
    return union(parts, "pinwheel")


def _circle(
    radius: float,
    count: int,
    start: float = 0.0,
    turn: float = 2 * math.pi,
    centre: tuple[float, float] = (0.0, 0.0),
    noise: float = 0.03,
) -> GaussianMixture:
    """Gaussians along an arc of a circle."""
    angles = start + turn * (torch.arange(count) + 0.5) / count
    latents = torch.stack([angles, torch.zeros(count)], 1)

    def chart(latent: Tensor) -> Tensor:
        return torch.stack([centre[0] + radius * latent[0].cos(), centre[1] + radius * latent[0].sin()])

    return pushforward(chart, latents, (0.5 * turn / count, 0.0), noise=noise)


def rings() -> GaussianMixture:
    """Four concentric rings."""
    return union([_circle(0.2 * k, 24 * k) for k in (1, 2, 3, 4)], "rings")


def circles() -> GaussianMixture:
    """Two concentric circles, scikit-learn's `make_circles` with factor 0.5."""
    return union([_circle(0.7 * factor, 64, noise=0.056) for factor in (0.5, 1.0)], "circles")


def moons() -> GaussianMixture:
    """Two interleaved half circles, scikit-learn's `make_moons` at scale 0.5, centred."""
    upper = _circle(0.5, 48, 0.0, math.pi, (-0.25, -0.125), 0.05)
    lower = _circle(0.5, 48, math.pi, math.pi, (0.25, 0.125), 0.05)
    return union([upper, lower], "moons")


def eight_gaussians() -> GaussianMixture:
    """Eight round Gaussians on a circle (FFJORD's `8gaussians`)."""
    angles = torch.arange(8) * math.pi / 4
    means = 0.7 * torch.stack([angles.cos(), angles.sin()], 1)
    return mixture(means, 0.0875**2 * torch.eye(2).expand(8, 2, 2), name="8gaussians")


def swissroll() -> GaussianMixture:
    """A single spiral arm, scikit-learn's `make_swiss_roll` seen from above."""
    u = (torch.arange(160) + 0.5) / 160
    latents = torch.stack([u, torch.zeros(160)], 1)

    def chart(latent: Tensor) -> Tensor:
        n = 1.5 * math.pi * (1 + 2 * latent[0])
        return 0.06 * n * torch.stack([n.cos(), n.sin()])

    return pushforward(chart, latents, (0.5 / 160, 0.0), noise=0.03, name="swissroll")


def checkerboard(cells: int = 4, count: int = 6) -> GaussianMixture:
    """Every other square of a board, each a lattice of round Gaussians."""
    steps = (torch.arange(cells * count) + 0.5) * (1.6 / (cells * count)) - 0.8
    square = torch.arange(cells * count) // count
    dark = (square[:, None] + square[None]) % 2 == 0
    means = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1)[dark]
    covariances = (0.45 * 1.6 / (cells * count)) ** 2 * torch.eye(2).expand(len(means), 2, 2)
    return mixture(means, covariances, name="checkerboard")


def from_image(image: Path | Tensor, size: int = 48) -> GaussianMixture:
    """A density proportional to the darkness of a grey-scale image: one Gaussian a pixel.

    Args:
        image: A file, or grey values in [0, 1], `[H, W]`.
        size: The image is reduced to so many pixels on its longer side.

    Raises:
        ValueError: If the image is white all over.
        FileNotFoundError: If there is no such file.
    """
    if isinstance(image, Tensor):
        grey, name = image.float(), "image"
    else:
        with Image.open(image) as file:
            pixels = np.asarray(file.convert("L"), dtype=np.float32) / 255
        grey, name = torch.from_numpy(pixels), Path(image).stem
    factor = min(size / max(grey.shape), 1.0)
    shape = [max(round(n * factor), 1) for n in grey.shape]
    ink = 1 - torch.nn.functional.interpolate(grey[None, None], shape, mode="area")[0, 0]
    if float(ink.max()) <= 0:
        raise ValueError(f"image {name!r} is white all over: its density is empty")
    row, column = torch.nonzero(ink > 0.02 * ink.max(), as_tuple=True)
    pixel = 1.6 / max(shape)
    means = torch.stack([(column - (shape[1] - 1) / 2) * pixel, ((shape[0] - 1) / 2 - row) * pixel], 1)
    covariances = (0.5 * pixel) ** 2 * torch.eye(2).expand(len(means), 2, 2)
    return mixture(means, covariances, ink[row, column], name=name)


def letters() -> GaussianMixture:
    """The letters MSD, a density read from an image."""
    canvas = Image.new("L", (84, 34), 255)
    ImageDraw.Draw(canvas).text((4, 0), "MSD", fill=0, font=ImageFont.load_default(34))
    grey = torch.from_numpy(np.asarray(canvas, dtype=np.float32)) / 255
    return replace(from_image(grey, size=64), name="letters")


# Densities by name, each made once in a process.
DENSITIES: dict[str, Callable[[], GaussianMixture]] = {
    "fractal": cache(fractal),
    "karras-fractal": cache(karras_fractal),
    "spiral": cache(spiral),
    "pinwheel": cache(pinwheel),
    "checkerboard": cache(checkerboard),
    "rings": cache(rings),
    "moons": cache(moons),
    "circles": cache(circles),
    "8gaussians": cache(eight_gaussians),
    "swissroll": cache(swissroll),
    "letters": cache(letters),
}
