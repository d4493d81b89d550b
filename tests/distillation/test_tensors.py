"""Helpers on batches."""

from __future__ import annotations

import pytest
import torch
from threestudio_msd.distillation import NonFiniteError, expand, require_finite, rms


def test_non_finite_tensors_are_named():
    require_finite("fine", torch.ones(3))
    with pytest.raises(NonFiniteError, match=r"latents at step 3: 2 of 3 values.*lower"):
        require_finite(
            "latents at step 3", torch.tensor([1.0, float("nan"), float("inf")]), "Try a lower rate."
        )


def test_expand_and_rms():
    x = torch.ones(2, 3, 4)
    assert expand(2.0, x).shape == (1, 1, 1)
    assert expand(torch.tensor([1.0, 2.0]), x).shape == (2, 1, 1)
    assert rms(2 * x).tolist() == [2.0, 2.0]
    with pytest.raises(ValueError, match="one a sample"):
        expand(torch.ones(3), x)
