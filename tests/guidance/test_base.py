"""What every guidance module shares: branches, losses in latents and in images, NaN, and what is shown."""

from __future__ import annotations

from dataclasses import replace

import pytest
import threestudio
import torch
from guidance.stand_ins import PromptUtils, cameras, renders
from omegaconf import OmegaConf
from threestudio_msd.distillation import NonFiniteError
from threestudio_msd.guidance.base import half_square
from threestudio_msd.guidance.host_calls import resized
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


def test_accumulated_batches_of_random_views_have_noise_of_their_own(random_pipeline):
    g = sds(random_pipeline)

    def seen(step, **index):
        g.update_step(0, step)
        return float(g(renders(), PromptUtils(), **cameras(2), **index)["sigma"])

    first = [seen(0), seen(0), seen(1)]
    assert len(set(first)) == 3
    g.calls, g.called_at = 0, -1
    assert [seen(0), seen(0), seen(1)] == first
    particles = {"index": torch.arange(2)}
    assert seen(0, **particles) == seen(0, **particles)


@pytest.mark.parametrize("name", ["sds", "csd", "vsd", "ism"])
def test_in_image_space_the_autoencoders_own_error_is_no_gradient(random_pipeline, monkeypatch, name):
    """Without a gradient on latents the loss is 0, though a random autoencoder returns no picture."""
    if name == "vsd":
        pytest.importorskip("peft")
    g = threestudio.find(f"msd-{name}-guidance")(
        {"pretrained_model_name_or_path": str(random_pipeline), "loss_space": "image"}
    )
    anew = g.estimate_anew
    monkeypatch.setattr(g, "estimate_anew", lambda y, *a: replace(anew(y, *a), target=y, gradient=0 * y))
    assert g(renders(), PromptUtils(), **cameras(2))[f"loss_{name}"].item() < 1e-9


@pytest.mark.parametrize("size", [32, 40, 48, 128])
def test_every_pixel_of_a_large_render_is_trained(size):
    images = torch.rand(1, 3, size, size, requires_grad=True)
    resized(images, (16, 16)).square().sum().backward()
    assert (images.grad != 0).all()


def test_settings_of_the_prompt_that_do_nothing_are_told(random_pipeline, caplog):
    prompts = {"use_perp_neg": True, "negative_prompt": "ugly"}
    system = {
        "guidance_type": "msd-sds-guidance",
        "guidance": {
            "pretrained_model_name_or_path": str(random_pipeline),
            "view_dependent_prompting": False,
            "guidance_scale": 1.0,
        },
        "prompt_processor_type": "stable-diffusion-prompt-processor",
        "prompt_processor": prompts,
        "loss": {"lambda_sds": 1.0},
    }
    threestudio.find("msd-sds-guidance")(OmegaConf.create(system).guidance)
    assert "use_perp_neg has no effect without" in caplog.text
    assert "negative_prompt has no effect at system.guidance.guidance_scale 1" in caplog.text
