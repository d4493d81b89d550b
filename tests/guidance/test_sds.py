"""`msd-sds-guidance` on a small random pipeline."""

from __future__ import annotations

import threestudio
import threestudio_msd  # noqa: F401  (registers)
import torch
from guidance.stand_ins import PromptUtils, cameras, renders


def guidance(folder, **cfg):
    return threestudio.find("msd-sds-guidance")({"pretrained_model_name_or_path": str(folder), **cfg})


def test_gradient_is_the_weighted_difference_of_the_noises(random_pipeline):
    t = 500
    g = guidance(random_pipeline, guidance_scale=3.0, min_step_percent=t / 1000, max_step_percent=t / 1000)
    latents = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(2)).requires_grad_()
    noise = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(3))
    g.noise = lambda *key: lambda like: noise if like.ndim == 4 else torch.zeros_like(like)
    out = g(latents.permute(0, 2, 3, 1), PromptUtils(), **cameras(2), rgb_as_latents=True)
    (gradient,) = torch.autograd.grad(out["loss_sds"], latents)

    alphas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000).square().neg().add(1).cumprod(0)
    noisy = alphas[t].sqrt() * latents.detach() + (1 - alphas[t]).sqrt() * noise
    utils = PromptUtils()
    eps = [g.model.backbone(noisy, t, utils.embeddings[i : i + 1].expand(2, -1, -1)).sample for i in (0, 1)]
    expected = (1 - alphas[t]) * (eps[1] + 3.0 * (eps[0] - eps[1]) - noise)
    torch.testing.assert_close(2 * gradient, expected, rtol=1e-3, atol=1e-4)
    assert out["nfe"] == 2


def test_gradient_reaches_the_render_and_perp_neg_runs_four_branches(random_pipeline):
    rgb = renders()
    out = guidance(random_pipeline)(rgb, PromptUtils(use_perp_neg=True), **cameras(2))
    out["loss_sds"].backward()
    assert rgb.grad.abs().sum() > 0
    assert out["nfe"] == 4


def test_published_defaults(random_pipeline):
    g = guidance(random_pipeline)
    assert (g.cfg.min_step_percent, g.cfg.max_step_percent) == (0.02, 0.98)
    # threestudio's 100 multiplies on top of cond, but under Perp-Neg on top of uncond
    assert (g.scale(perp_neg=False), g.scale(perp_neg=True)) == (101.0, 100.0)
    assert guidance(random_pipeline, guidance_scale=3).scale(perp_neg=True) == 3
