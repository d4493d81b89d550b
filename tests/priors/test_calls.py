"""What families share: networks' calls, noise levels, pooled embeddings."""

from __future__ import annotations

import pytest
import torch
from threestudio_msd.priors import PriorError
from threestudio_msd.priors.calls import flow_schedule, vp_denoiser, with_pooled, without_pooled


def test_a_pooled_embedding_travels_as_a_further_token():
    tokens, pooled = torch.randn(2, 5, 8), torch.randn(2, 3)
    joined = with_pooled(tokens, pooled)
    assert joined.shape == (2, 6, 8)
    assert joined[:, -1, 3:].abs().sum() == 0
    found = without_pooled(joined, 3)
    torch.testing.assert_close(found, (tokens, pooled))


def test_a_schedule_of_zero_terminal_signal_loses_its_infinite_level():
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(rescale_betas_zero_snr=True, prediction_type="v_prediction")
    assert scheduler.alphas_cumprod[-1] == 0
    schedule = vp_denoiser(torch.nn.Identity(), scheduler, torch.float32).schedule
    assert len(schedule) == 999
    assert schedule.sigma_max < float("inf")


@pytest.mark.new_diffusers
def test_schedulers_of_the_wrong_kind_are_named():
    from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

    with pytest.raises(PriorError, match="FlowMatchEulerDiscreteScheduler has no noise levels"):
        vp_denoiser(torch.nn.Identity(), FlowMatchEulerDiscreteScheduler(), torch.float32)
    with pytest.raises(PriorError, match="DDIMScheduler is none of flow matching"):
        flow_schedule(DDIMScheduler())
