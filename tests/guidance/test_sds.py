"""`msd-sds-guidance` on a small random pipeline."""

from __future__ import annotations

import pytest
import threestudio
import threestudio_msd  # noqa: F401  (registers)
import torch
from guidance.stand_ins import PromptUtils, cameras, renders
from threestudio_msd.guidance.base import View


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


def test_perp_neg_pairs_every_sample_with_its_own_negatives(random_pipeline):
    """threestudio's own code pairs them with another sample's latents in batches over 1."""
    g, sigma = guidance(random_pipeline), torch.tensor(1.0)
    z = torch.randn(3, 4, 4, 4, generator=torch.Generator().manual_seed(4))
    prompts, view = Turning(), View(*(torch.tensor([0.0, 1.0, 2.0]) for _ in range(3)))
    together = g.conditioned(prompts, view).denoiser(z, sigma)
    alone = [g.conditioned(prompts, view.rows([i])).denoiser(z[i : i + 1], sigma) for i in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-3, atol=1e-4)


class Turning:
    """Stands for a prompt whose negatives and weights differ from azimuth to azimuth."""

    use_perp_neg = True

    def get_text_embeddings_perp_neg(self, elevation, azimuth, camera_distances, view_dependent_prompting):
        def embed(seed):
            return torch.randn(8, 16, generator=torch.Generator().manual_seed(seed))

        views = [int(a) for a in azimuth]
        blocks = [[embed(v) for v in views], [embed(9) for _ in views]]
        negatives = [embed(10 * (i + 1) + v) for v in views for i in range(2)]
        weights = torch.tensor([[-0.2 * (v + 1), -0.1 * (v + 1)] for v in views])
        return torch.stack([*blocks[0], *blocks[1], *negatives]), weights


@pytest.mark.parametrize("low, high", [(0.5, 0.2), (-0.1, 0.5), (0.1, 1.5)])
@pytest.mark.parametrize("name", ["sds", "sdi", "vsd", "csd", "ism"])
def test_an_impossible_range_of_times_is_refused_before_a_model_is_loaded(name, low, high):
    with pytest.raises(ValueError, match=r"(min|max)_step_percent: expected"):
        threestudio.find(f"msd-{name}-guidance")(
            {"min_step_percent": low, "max_step_percent": high, "trainer_max_steps": 10}
        )
