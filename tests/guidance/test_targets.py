"""Cached targets: their age, and what a checkpoint keeps of them."""

from __future__ import annotations

import torch
from threestudio_msd.distillation import Estimate
from threestudio_msd.guidance.targets import TargetCache


def test_a_target_ages_and_survives_a_checkpoint_without_its_pictures():
    cache, latents = TargetCache(refresh_every=2, threshold=0.0), torch.zeros(1, 4, 2, 2)
    x = torch.ones(1, 4, 2, 2)
    cache.put([7], Estimate(x, latents - x, 1, torch.tensor(0.5), state={"count": torch.ones(1)}), 0.5)
    assert torch.equal(cache.images([7], lambda target: target[:, :3]), x[:, :3])
    fits = [(cache.stale([7, 8]), cache.fit([7], latents).target) for _ in range(2)]
    assert [stale for stale, _ in fits] == [[1], [1]]
    assert (cache.stale([7]), cache.stale([7], final_fit=True)) == ([0], [])
    restored = TargetCache(refresh_every=2, threshold=0.0)
    restored.restore(cache.checkpoint(), "cpu")
    entry = restored.entries[7]
    assert entry.images is None
    assert (entry.age, entry.sigma, entry.state) == (2, 0.5, {"count": torch.ones(())})
    assert torch.equal(entry.latents, x[0])
