"""`msd-vsd-guidance` on a small random pipeline."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import threestudio
import threestudio_msd  # noqa: F401  (registers)
import torch
from guidance.stand_ins import PromptUtils, cameras, renders
from omegaconf import OmegaConf
from threestudio_msd.assets_path import ASSETS, TINY_PRIOR
from threestudio_msd.guidance.view import View

pytest.importorskip("peft")


def guidance(folder, **cfg):
    return threestudio.find("msd-vsd-guidance")({"pretrained_model_name_or_path": str(folder), **cfg})


def matrices(batch: int) -> dict[str, torch.Tensor]:
    return {"c2w": torch.randn(batch, 4, 4, generator=torch.Generator().manual_seed(4))}


def test_with_fresh_adapters_phi_is_the_pretrained_model(random_pipeline):
    g = guidance(random_pipeline, guidance_scale=1.0)
    out = g(renders(), PromptUtils(), **cameras(2))
    # B is zero at first, so that both noises agree and the gradient vanishes
    assert float(out["grad_norm"]) == pytest.approx(0, abs=1e-6)
    # at scale 1 guidance has one branch; phi has one, and phi's training one
    assert out["nfe"] == 3


def test_the_adapters_learn_the_renders_and_leave_the_prior_alone(random_pipeline):
    g = guidance(random_pipeline)
    rgb = renders()
    before = [p.clone() for p in g.model.backbone.parameters() if not p.requires_grad]
    z, sigma = torch.randn(2, 4, 4, 4), torch.tensor(1.0)
    condition = {"encoder_hidden_states": PromptUtils().embeddings[:2]}
    frozen = g.model.denoiser(z, sigma, condition)
    optimizer = torch.optim.Adam(g.parameters(), lr=1e-2)
    losses = []
    for step in range(24):
        g.update_step(0, step)
        out = g(rgb, PromptUtils(), **cameras(2))
        losses.append(out["loss_lora"].item())
        optimizer.zero_grad()
        out["loss_lora"].backward()
        optimizer.step()
    assert sum(losses[-8:]) < sum(losses[:8])
    assert rgb.grad is None  # phi learns the renders; the renders do not learn phi
    assert torch.equal(g.model.denoiser(z, sigma, condition), frozen)
    assert not torch.equal(g.phi(z, sigma, condition), frozen)
    after = [p for p in g.model.backbone.parameters() if not p.requires_grad]
    assert len(before) == len(after)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_only_the_adapters_are_parameters_and_saved(random_pipeline):
    g = guidance(random_pipeline, camera_condition_type="extrinsics")
    assert all("lora_" in name or "camera_embedding" in name for name, _ in g.named_parameters())
    assert 0 < sum(p.numel() for p in g.parameters()) < sum(p.numel() for p in g.model.backbone.parameters())
    with torch.no_grad():
        for parameter in g.parameters():
            parameter.add_(1)
    other = guidance(random_pipeline, camera_condition_type="extrinsics")
    other.load_state_dict(g.state_dict())
    losses = [m(renders(), PromptUtils(), **cameras(2), **matrices(2))["loss_vsd"].item() for m in (g, other)]
    assert losses[0] == losses[1]


def test_phi_knows_the_camera_if_asked_to(random_pipeline):
    g = guidance(random_pipeline, camera_condition_type="extrinsics", guidance_scale_lora=2.0)
    out = g(renders(), PromptUtils(), **cameras(2), **matrices(2))
    assert out["nfe"] == 5  # two branches of phi, with and without the camera
    out["loss_lora"].backward()
    assert g.lora.camera_embedding.linear_1.weight.grad is not None
    with pytest.raises(ValueError, match="the batch has no c2w"):
        g(renders(), PromptUtils(), **cameras(2))


def test_perp_neg_acts_on_the_pretrained_branch(random_pipeline):
    out = guidance(random_pipeline)(renders(), PromptUtils(use_perp_neg=True), **cameras(2))
    assert out["nfe"] == 6


def test_a_particle_and_its_noise_do_not_depend_on_the_batch(random_pipeline):
    rgb = renders(3).detach()
    losses = {
        ids: guidance(random_pipeline)(
            rgb[list(ids)], PromptUtils(), **cameras(len(ids)), index=torch.tensor(ids)
        )
        for ids in ((0, 1, 2), (1,), (0, 2))
    }
    for name, size in (("loss_vsd", 1), ("loss_lora", 1)):
        total = losses[1,][name].item() + 2 * losses[0, 2][name].item()
        assert 3 * size * losses[0, 1, 2][name].item() == pytest.approx(total, rel=1e-4)


def test_the_same_seed_gives_the_same_adapters_and_leaves_the_global_generator_alone(random_pipeline):
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    a, b = guidance(random_pipeline), guidance(random_pipeline)
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_bad_settings_are_refused_before_a_model_is_loaded():
    for bad, message in (
        ({"lora_rank": 0}, "lora_rank"),
        ({"camera_condition_type": "c2w"}, "extrinsics"),
        ({"camera_dropout": 2.0}, "camera_dropout"),
    ):
        with pytest.raises(ValueError, match=message):
            guidance("nowhere", **bad)


class Wide(PromptUtils):
    """Prompts of the tiny prior's width."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = torch.randn(4, 8, 96, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def large_prior(tmp_path_factory):
    """The tiny prior, trained, told that its latents are as many as Stable Diffusion's."""
    folder = shutil.copytree(ASSETS / TINY_PRIOR, tmp_path_factory.mktemp("large") / "prior")
    config = folder / "unet/config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "sample_size": 64}))
    return folder


def errors_in_float16(folder, latents, prompt, factor=1.0):
    """Errors of the adapters' gradient in float16, with the scale of gradients and without."""
    view, found = View.front(prompt, latents), []
    for dtype, scaled in (("float32", True), ("float16", True), ("float16", False)):
        g = guidance(folder, dtype=dtype)
        g.lora.gradient_scale = max(g.lora.gradient_scale, 1 / factor) if scaled else 1.0
        (factor * g.further_losses(latents, view)["loss_lora"]).backward()
        gradients = [p.grad.flatten() for p in g.parameters() if p.grad is not None]
        found.append(torch.cat(gradients) / factor)
    exact, *others = found
    return [float((other - exact).norm() / exact.norm()) for other in others]


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 4])
def test_adapters_learn_in_float16_at_the_size_of_stable_diffusion(large_prior, batch):
    """A loss averaged over 64 x 64 latents has gradients that float16 rounds to 0."""
    latents = 0.8 * torch.randn(batch, 4, 64, 64, generator=torch.Generator().manual_seed(2))
    scaled, plain = errors_in_float16(large_prior, latents, Wide())
    assert scaled < 0.002
    assert plain > 4 * scaled


def test_adapters_learn_from_small_gradients_in_float16(random_pipeline):
    """The factor stands for the mean over more latents."""
    latents = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(2))
    scaled, plain = errors_in_float16(random_pipeline, latents, PromptUtils(), factor=2.0**-14)
    assert scaled < 0.02
    assert plain > 0.1


def test_the_scale_of_gradients_is_exact(random_pipeline):
    found = []
    for scale in (1.0, 64.0):
        g = guidance(random_pipeline)
        g.lora.gradient_scale = scale
        g(renders(), PromptUtils(), **cameras(2))["loss_lora"].backward()
        found.append([p.grad for p in g.parameters()])
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)


@pytest.mark.parametrize("name", ["vsd-nerf-sd", "vsd-hashgrid-sd"])
def test_the_bundled_3d_baselines_know_the_camera_as_threestudios_does(name):
    config = OmegaConf.load(Path(__file__).parents[2] / "configs" / f"{name}.yaml")
    assert config.system.guidance.camera_condition_type == "extrinsics"
