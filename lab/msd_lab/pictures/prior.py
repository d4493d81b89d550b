"""The exact prior of a finite set of pictures: every mode, mean shift and guided estimate is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from threestudio_msd.distillation import KarrasSchedule, PairPrior, expand
from threestudio_msd.distillation.protocols import Batch, Level, PerSample
from torch import Tensor

from .data import load_index, load_pictures

SCHEDULE = KarrasSchedule(0.02, 80.0, 7.0)
"""Noise levels. The pictures lie some 86 apart in 12,288 dimensions, so that at 80 nearly all count."""


@dataclass(frozen=True)
class PictureDenoiser:
    """The ideal denoiser of equally likely pictures (Karras et al. 2022, Eq. 57; Eq. 16 of the paper).

    D(z, sigma) = sum_i w_i x_i, w = softmax_i(-|z - x_i|^2 / 2 sigma^2). D(y, lambda) - y is the exact mean
    shift of the pictures' density blurred by lambda.

    Args:
        pictures: x, `[N, ...]`, values in [-1, 1].
    """

    pictures: Float[Tensor, "N ..."]

    def weights(self, z: Batch, sigma: Level) -> Float[Tensor, "B N"]:
        """The probability of every picture given z = x + sigma n, `[B, N]`."""
        x = self.pictures.flatten(1)
        mean = x.mean(0)
        x, z = x - mean, z.flatten(1) - mean  # smaller numbers round less
        logits = z @ x.T - x.square().sum(1) / 2
        return torch.softmax(logits / expand(torch.as_tensor(sigma), logits) ** 2, 1)

    def __call__(self, z: Batch, sigma: Level) -> Batch:
        """Denoise z at the level sigma, a number or one a sample."""
        mixed = self.weights(z, sigma) @ self.pictures.flatten(1)
        return mixed.unflatten(1, self.pictures.shape[1:])

    def counted(self, y: Batch, lam: Level) -> PerSample:
        """How many pictures count around y: the inverse of the sum of squared weights, 1 to N."""
        return 1 / self.weights(y, lam).square().sum(1)

    def nearest(self, y: Batch) -> tuple[Tensor, Tensor]:
        """The distance of every y to the nearest picture, root mean square a value, and its index."""
        apart = torch.cdist(y.flatten(1), self.pictures.flatten(1)) / y[0].numel() ** 0.5
        return apart.min(1)


def picture_prior(keyword: str, scale: float = 1.0) -> PairPrior:
    """The exact prior under a keyword: the conditional denoiser has the pictures that bear it.

    Args:
        keyword: A word of the data set's index.
        scale: Guidance scale w of Eq. 13.

    Raises:
        ValueError: No picture bears the keyword.
    """
    everything = load_pictures()
    conditional = everything[picture_places(keyword)]
    return PairPrior(PictureDenoiser(conditional), PictureDenoiser(everything), SCHEDULE, scale)


def picture_places(keyword: str) -> Sequence[int]:
    """The indices of the pictures that bear a keyword.

    Raises:
        ValueError: None does.
    """
    places = [i for i, picture in enumerate(load_index()) if keyword in picture.keywords]
    if not places:
        raise ValueError(f"no picture has the keyword {keyword!r}")
    return places
