"""`msd-csd-guidance` on a small random pipeline."""

from __future__ import annotations

import threestudio
import torch
from guidance.stand_ins import PromptUtils, cameras, renders


def gradient(folder, **cfg):
    settings = {
        "pretrained_model_name_or_path": str(folder),
        "min_step_percent": 0.5,
        "max_step_percent": 0.5,
    }
    guidance = threestudio.find("msd-csd-guidance")({**settings, **cfg})
    latents = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(2)).requires_grad_()
    out = guidance(latents, PromptUtils(), **cameras(2), rgb_as_latents=True)
    return *torch.autograd.grad(out["loss_csd"], latents), out


def test_the_scale_plays_no_part_and_two_branches_are_evaluated(random_pipeline):
    found = [gradient(random_pipeline, guidance_scale=scale) for scale in (1.0, 7.5)]
    assert torch.equal(found[0][0], found[1][0])
    assert found[0][0].abs().sum() > 0
    assert [out["nfe"] for _, out in found] == [2, 2]


def test_gradient_reaches_the_render(random_pipeline):
    rgb = renders()
    guidance = threestudio.find("msd-csd-guidance")({"pretrained_model_name_or_path": str(random_pipeline)})
    guidance(rgb, PromptUtils(), **cameras(2))["loss_csd"].backward()
    assert rgb.grad.abs().sum() > 0
