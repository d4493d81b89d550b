"""Sources of standard normal noise: callables from a batch to noise of its shape.

Two siblings: `SharedNoise` draws a whole batch from one generator (fast, for thousands
of 2D points); `SampleNoise` draws every sample from its own, so that a sample's noise
does not depend on what else is in the batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

from .protocols import Batch, Noise, PerSample, Schedule
from .tensors import on_device


def seed_from(*parts: int | str) -> int:
    """Hash numbers and words to a seed of 63 bits, the same on every machine.

    The seed depends on every part and on their order.

    >>> seed_from(0, "msd", 3) == seed_from(0, "msd", 3)
    True
    >>> seed_from(0, 1) == seed_from(1, 0)
    False
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class SharedNoise:
    """A source of standard normal noise that draws whole batches from one generator.

    Called as `noise(like)`, it returns noise of the shape, dtype and device of `like`;
    the next call returns other noise. It is drawn on the CPU.

    Args:
        seed: Seed of the generator.
    """

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, like: Batch) -> Batch:
        drawn = torch.randn(like.shape, generator=self.generator, dtype=like.dtype)
        return on_device(drawn, like.device, like.dtype)


class SampleNoise:
    """A source of standard normal noise that draws every sample from that sample's own
    generator.

    Called as `noise(like)`, it returns noise of the shape, dtype and device of `like`,
    `[B, ...]`; the next call returns other noise. A sample's noise does not depend on
    the rest of the batch. It is drawn on the CPU, so that a seed means the same noise
    on every device. A call raises ValueError if B is not the number of seeds.

    Args:
        seeds: One seed per sample, B of them.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, like: Batch) -> Batch:
        if len(self.generators) != like.shape[0]:
            raise ValueError(f"noise for {len(self.generators)} samples was asked for {like.shape[0]}")
        rows = [torch.randn(like.shape[1:], generator=g, dtype=like.dtype) for g in self.generators]
        return on_device(torch.stack(rows), like.device, like.dtype)


def repeated(noise: Noise, draws: int) -> Noise:
    """Make a source of noise for batches `[B * draws, ...]` from one for batches `[B,
    ...]`.

    Row `b * draws + m` of its noise is draw m of sample b: the first draws do not
    depend on how many follow.

    Args:
        noise: The source for batches `[B, ...]`, called `draws` times per call.
        draws: Rows per sample, side by side.
    """

    def draw(like: Batch) -> Batch:
        batch = like[::draws]
        return torch.stack([noise(batch) for _ in range(draws)], 1).flatten(0, 1)

    return draw


def uniform(noise: Noise, like: Batch) -> PerSample:
    """Draw one uniform number in [0, 1) per sample, `[B]`, from a source of normal
    noise.

    The numbers are on the CPU, so that a number of steps can depend on them without
    waiting for a GPU.

    Args:
        noise: The source; one number per sample is drawn from it.
        like: A batch `[B, ...]`, for its number of samples and dtype.
    """
    drawn = noise(torch.empty(len(like), 1, dtype=like.dtype))
    return torch.special.ndtr(drawn)[:, 0].clamp(max=1 - 2**-24)


def uniform_sigma(
    noise: Noise, like: Batch, schedule: Schedule, time_range: tuple[float, float]
) -> PerSample:
    """Draw one diffusion time per sample uniformly from a range, and return its noise
    level.

    Args:
        noise: Source of randomness; one number per sample is drawn from it.
        like: A batch `[B, ...]`, for the number of samples, the device and the dtype.
        schedule: Noise levels by diffusion time.
        time_range: Least and greatest time, in [0, 1].

    Returns:
        Noise levels, `[B]`.
    """
    low, high = time_range
    return on_device(schedule.sigma(low + (high - low) * uniform(noise, like)), like.device, like.dtype)
