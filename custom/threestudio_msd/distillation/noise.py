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
    """A 63-bit seed that depends on every part and their order, the same on every
    machine.

    >>> seed_from(0, "msd", 3) == seed_from(0, "msd", 3)
    True
    >>> seed_from(0, 1) == seed_from(1, 0)
    False
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class SharedNoise:
    """Noise for the whole batch from one generator, seeded with `seed`."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, like: Batch) -> Batch:
        drawn = torch.randn(like.shape, generator=self.generator, dtype=like.dtype)
        return on_device(drawn, like.device, like.dtype)


class SampleNoise:
    """Noise for every sample of the batch from that sample's own generator.

    Drawn on the CPU, so that a seed means the same noise on every device. A call raises
    ValueError if the batch has another size than there are seeds.

    Args:
        seeds: One seed a sample.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, like: Batch) -> Batch:
        if len(self.generators) != like.shape[0]:
            raise ValueError(f"noise for {len(self.generators)} samples was asked for {like.shape[0]}")
        rows = [torch.randn(like.shape[1:], generator=g, dtype=like.dtype) for g in self.generators]
        return on_device(torch.stack(rows), like.device, like.dtype)


def repeated(noise: Noise, draws: int) -> Noise:
    """Make noise for batches `[B * draws, ...]`, rows grouped by sample, of a noise for
    batches of `B`.

    Row `b * draws + m` is draw `m` of sample `b`: the first draws do not depend on how
    many follow within a call.
    """

    def draw(like: Batch) -> Batch:
        batch = like[::draws]
        return torch.stack([noise(batch) for _ in range(draws)], 1).flatten(0, 1)

    return draw


def uniform(noise: Noise, like: Batch) -> PerSample:
    """Draw one uniform number in [0, 1) a sample, `[B]`, as the normal distribution
    function of normal noise.

    It stays on the CPU, so that a number of steps can depend on it without waiting for
    a GPU.
    """
    drawn = noise(torch.empty(len(like), 1, dtype=like.dtype))
    return torch.special.ndtr(drawn)[:, 0].clamp(max=1 - 2**-24)


def uniform_sigma(
    noise: Noise, like: Batch, schedule: Schedule, time_range: tuple[float, float]
) -> PerSample:
    """Draw diffusion times uniformly from `time_range` and return their noise levels,
    `[B]`.
    """
    low, high = time_range
    return on_device(schedule.sigma(low + (high - low) * uniform(noise, like)), like.device, like.dtype)
