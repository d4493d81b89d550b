"""What is kept of a target from step to step."""

from __future__ import annotations

import torch
from threestudio_msd.guidance.kept import KeptTarget


def test_a_target_ages_and_survives_a_checkpoint_without_its_pictures():
    kept = KeptTarget(torch.ones(4, 2, 2), torch.tensor(0.5), torch.zeros(3, 8, 8))
    older = kept.older().older()
    assert (kept.age, older.age) == (0, 2)
    restored = KeptTarget.restored(older.checkpoint(), "cpu")
    assert restored.images is None
    assert (restored.age, restored.sigma) == (2, 0.5)
    assert torch.equal(restored.latents, kept.latents)
