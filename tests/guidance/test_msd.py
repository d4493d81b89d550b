"""`msd-guidance` on a small random pipeline."""

from __future__ import annotations

import pytest
import threestudio
import threestudio_msd  # noqa: F401  (registers)
import torch
from threestudio_msd.distillation import NonFiniteError


class PromptUtils:
    """Stands for threestudio's PromptProcessorOutput."""

    def __init__(self, use_perp_neg: bool = False) -> None:
        generator = torch.Generator().manual_seed(0)
        self.use_perp_neg = use_perp_neg
        self.embeddings = torch.randn(4, 8, 16, generator=generator)

    def get_text_embeddings(self, elevation, azimuth, camera_distances, view_dependent_prompting=True):
        batch = len(elevation)
        return torch.cat(
            [self.embeddings[:1].expand(batch, -1, -1), self.embeddings[1:2].expand(batch, -1, -1)]
        )

    def get_text_embeddings_perp_neg(
        self, elevation, azimuth, camera_distances, view_dependent_prompting=True
    ):
        batch = len(elevation)
        blocks = [self.embeddings[i : i + 1].expand(batch, -1, -1) for i in (0, 1)]
        negatives = self.embeddings[2:4].repeat(batch, 1, 1)
        return torch.cat([*blocks, negatives]), torch.full((batch, 2), -0.5)


def guidance(folder, **cfg):
    defaults = {"pretrained_model_name_or_path": str(folder), "trainer_max_steps": 10}
    return threestudio.find("msd-guidance")({**defaults, "sampler": {"type": "posterior", "steps": 2}, **cfg})


def cameras(batch: int) -> dict[str, torch.Tensor]:
    return {name: torch.zeros(batch) for name in ("elevation", "azimuth", "camera_distances")}


def renders(batch: int = 2, size: int = 16) -> torch.Tensor:
    return torch.rand(batch, size, size, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()


def test_loss_is_the_gradient_it_promises(random_pipeline):
    g = guidance(random_pipeline)
    latents = torch.randn(2, 4, 4, 4).requires_grad_()
    out = g(latents.permute(0, 2, 3, 1), PromptUtils(), **cameras(2), rgb_as_latents=True)
    (gradient,) = torch.autograd.grad(out["loss_msd"], latents)
    # the loss is half the squared gradient, summed over a sample and averaged over the batch
    per_sample = 2 * gradient
    assert per_sample.flatten(1).square().mean(1).sqrt().mean() == pytest.approx(
        float(out["grad_norm"]), rel=1e-4
    )
    assert out["loss_msd"].item() == pytest.approx(0.5 * float(per_sample.square().sum()) / 2, rel=1e-4)
    # two steps, conditional and unconditional branch
    assert out["network_calls"] == 4
    assert float(out["bandwidth"]) == pytest.approx(g.bandwidth.start)


def test_gradient_reaches_the_render_through_the_encoder_at_any_resolution(random_pipeline):
    for size in (16, 24):
        rgb = renders(size=size)
        guidance(random_pipeline)(rgb, PromptUtils(), **cameras(2))["loss_msd"].backward()
        assert rgb.grad.abs().sum() > 0


def test_a_particle_does_not_depend_on_its_batch(random_pipeline):
    g = guidance(random_pipeline)
    rgb = renders(3).detach()
    together = g(rgb, PromptUtils(), **cameras(3), index=torch.tensor([0, 1, 2]))
    g = guidance(random_pipeline)
    alone = g(rgb[1:2], PromptUtils(), **cameras(1), index=torch.tensor([1]))
    g = guidance(random_pipeline)
    pair = g(rgb[[0, 2]], PromptUtils(), **cameras(2), index=torch.tensor([0, 2]))
    total = alone["loss_msd"].item() + 2 * pair["loss_msd"].item()
    assert 3 * together["loss_msd"].item() == pytest.approx(total, rel=1e-4)


def test_fixed_noise_repeats_and_fresh_noise_does_not(random_pipeline):
    losses = {}
    for noise in ("fresh", "fixed"):
        g = guidance(random_pipeline, noise=noise, bandwidth={"type": "constant", "start": 2.0, "end": 2.0})
        for step in (0, 1):
            g.update_step(0, step)
            losses[noise, step] = g(renders(), PromptUtils(), **cameras(2))["loss_msd"].item()
    assert losses["fixed", 0] == losses["fixed", 1]
    assert losses["fresh", 0] != losses["fresh", 1]


def test_bandwidth_follows_the_steps(random_pipeline):
    g = guidance(random_pipeline, bandwidth={"type": "linear", "start": 3.0, "end": 1.0})
    seen = []
    for step in (0, 9, 20):
        g.update_step(0, step)
        seen.append(float(g(renders(), PromptUtils(), **cameras(2))["bandwidth"]))
    assert seen == pytest.approx([3.0, 1.0, 1.0])


def test_refresh_every_spends_calls_only_at_refreshes_and_survives_a_restart(random_pipeline):
    g = guidance(random_pipeline, refresh_every=3)
    index, calls = torch.arange(2), []
    for step in range(5):
        g.update_step(0, step)
        out = g(renders(), PromptUtils(), **cameras(2), index=index)
        calls.append(out["network_calls"])
    assert calls == [4, 4, 4, 8, 8]
    resumed = guidance(random_pipeline, refresh_every=3)
    resumed.load_checkpoint_state(g.checkpoint_state())
    for module in (g, resumed):
        module.update_step(0, 5)
    again = [m(renders(), PromptUtils(), **cameras(2), index=index)["loss_msd"].item() for m in (g, resumed)]
    assert again[0] == again[1]


def test_refresh_and_adaptive_refuse_random_views(random_pipeline):
    for cfg in ({"refresh_every": 2}, {"bandwidth": {"type": "adaptive", "start": 2.0, "end": 0.1}}):
        with pytest.raises(ValueError, match="same particles"):
            guidance(random_pipeline, **cfg)(renders(), PromptUtils(), **cameras(2))


def test_adaptive_bandwidth_falls_and_its_state_is_kept(random_pipeline):
    adaptive = {"type": "adaptive", "start": 2.0, "end": 0.5, "patience": 1}
    g = guidance(random_pipeline, bandwidth=adaptive)
    seen = [
        float(g(renders(), PromptUtils(), **cameras(2), index=torch.arange(2))["bandwidth"]) for _ in range(3)
    ]
    assert seen == pytest.approx([2.0, 1.6, 1.28])
    resumed = guidance(random_pipeline, bandwidth=adaptive)
    resumed.load_checkpoint_state(g.checkpoint_state())
    out = resumed(renders(), PromptUtils(), **cameras(2), index=torch.arange(2))
    assert float(out["bandwidth"]) == pytest.approx(1.024)


def test_converged_is_told(random_pipeline):
    out = guidance(random_pipeline, stop_threshold=1e6)(renders(), PromptUtils(), **cameras(2))
    assert out["converged"] == 1.0
    out = guidance(random_pipeline)(renders(), PromptUtils(), **cameras(2))
    assert out["converged"] == 0.0


def test_perp_neg_runs_four_branches(random_pipeline):
    out = guidance(random_pipeline)(renders(), PromptUtils(use_perp_neg=True), **cameras(2))
    assert out["network_calls"] == 8


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
    assert {name: tuple(out[name].shape) for name in out if name != "texts"} == dict.fromkeys(
        ("imgs_noisy", "imgs_1step", "imgs_1orig", "imgs_final"), (2, 16, 16, 3)
    )
    assert len(out["texts"]) == 2


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        ({"sampler": {"type": "posteriro"}}, "did you mean 'posterior'"),
        ({"sampler": {"type": "posterior", "step": 3}}, "did you mean 'steps'"),
        ({"sampler": {"steps": 3}}, "sampler.type is missing"),
        ({"bandwidth": {"type": "linear", "start": -1.0, "end": 0.1}}, "bandwidth start must be positive"),
        ({"bandwidth": {"type": "linear", "start": 1.0}}, "end"),
        ({"samples": 0}, "samples must be at least 1"),
        ({"noise": "stale"}, "fresh or fixed"),
        ({"refresh_every": 0}, "refresh_every"),
        ({"loss_space": "pixels"}, "latent or image"),
    ],
)
def test_bad_settings_are_refused_before_a_model_is_loaded(cfg, message):
    with pytest.raises(ValueError, match=message):
        guidance("nowhere", **cfg)
