"""What every guidance module shares: branches, losses in latents and in images, NaN, and what is shown."""

from __future__ import annotations

import pytest
import threestudio
import torch
from guidance.stand_ins import PromptUtils, cameras, renders
from threestudio_msd.distillation import NonFiniteError
from threestudio_msd.guidance.base import half_square
from threestudio_msd.guidance.view import View


def guidance(folder, **cfg):
    defaults = {"pretrained_model_name_or_path": str(folder), "trainer_max_steps": 10}
    return threestudio.find("msd-guidance")({**defaults, "sampler": {"type": "posterior", "steps": 2}, **cfg})


def sds(folder):
    return threestudio.find("msd-sds-guidance")({"pretrained_model_name_or_path": str(folder)})


def test_perp_neg_runs_four_branches(random_pipeline):
    out = guidance(random_pipeline)(renders(), PromptUtils(use_perp_neg=True), **cameras(2))
    assert out["nfe"] == 8


def test_a_loss_in_image_space_pulls_the_render_to_the_decoded_target(random_pipeline):
    g = guidance(random_pipeline, loss_space="image")
    rgb = renders()
    out = g(rgb, PromptUtils(), **cameras(2))
    (gradient,) = torch.autograd.grad(out["loss_msd"], rgb)
    decoded = rgb.detach() - 2 * gradient
    assert decoded.min() >= -1e-6 and decoded.max() <= 1 + 1e-6
    assert out["loss_msd"].item() == pytest.approx(float((2 * gradient).square().sum()) / 4, rel=1e-4)


def test_nan_stops_with_step_and_tensor(random_pipeline):
    g = guidance(random_pipeline)
    g.update_step(0, 7)
    rgb = renders().detach()
    rgb[0, 0, 0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match="latents at step 7"):
        g(rgb, PromptUtils(), **cameras(2))


def test_evaluation_images_are_for_threestudio(random_pipeline):
    out = guidance(random_pipeline)(renders(), PromptUtils(), **cameras(2), guidance_eval=True)["eval"]
    assert {name: tuple(out[name].shape) for name in out if name.startswith("imgs")} == dict.fromkeys(
        ("imgs_noisy", "imgs_1step", "imgs_1orig", "imgs_final"), (2, 16, 16, 3)
    )
    assert len(out["texts"]) == 2


def test_half_the_square_is_summed_over_a_sample_and_averaged_over_the_batch():
    x = torch.tensor([[1.0, 2.0], [0.0, 4.0]], requires_grad=True)
    loss = half_square(x, torch.zeros(2, 2))
    loss.backward()
    assert loss.item() == (1 + 4 + 16) / 2 / 2
    assert torch.equal(x.grad, x.detach() / 2)


def test_progress_runs_from_0_to_1_over_the_steps(random_pipeline):
    g = guidance(random_pipeline, guidance_scale=[0, 1.0, 11.0, 10])
    seen = []
    for step in (0, 5, 9, 20):
        g.update_step(0, step)
        seen.append((round(g.progress, 3), g.now(g.cfg.guidance_scale)))
    assert seen == [(0.0, 1.0), (0.556, 6.0), (1.0, 10.0), (1.0, 11.0)]


def test_perp_neg_pairs_every_sample_with_its_own_negatives(random_pipeline):
    """threestudio's own code pairs them with another sample's latents in batches over 1."""
    g, sigma = sds(random_pipeline), torch.tensor(1.0)
    z = torch.randn(3, 4, 4, 4, generator=torch.Generator().manual_seed(4))
    view = View(Turning(), *(torch.tensor([0.0, 1.0, 2.0]) for _ in range(3)))
    together = g.prior(view).denoiser(z, sigma)
    alone = [g.prior(view.rows([i])).denoiser(z[i : i + 1], sigma) for i in range(3)]
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
