"""What families share: networks' calls, noise levels."""

from __future__ import annotations

import pytest
import torch
from threestudio_msd.priors import PriorError
from threestudio_msd.priors.calls import flow_schedule, vp_denoiser


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

    with pytest.raises(PriorError, match=r"FlowMatchEulerDiscreteScheduler is not known .* the DDPM kind"):
        vp_denoiser(torch.nn.Identity(), FlowMatchEulerDiscreteScheduler(), torch.float32)
    with pytest.raises(PriorError, match="DDIMScheduler is not known to have noise levels of flow matching"):
        flow_schedule(DDIMScheduler())
