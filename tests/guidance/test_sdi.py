"""`msd-sdi-guidance` on a small random pipeline."""

from __future__ import annotations

import pytest
import threestudio
import threestudio_msd  # noqa: F401  (registers)
import torch
from guidance.stand_ins import PromptUtils, cameras, renders


def guidance(folder, **cfg):
    defaults = {"pretrained_model_name_or_path": str(folder), "trainer_max_steps": 11}
    return threestudio.find("msd-sdi-guidance")({**defaults, **cfg})


def test_time_falls_linearly_and_so_does_the_length_of_the_inversion(random_pipeline):
    g = guidance(random_pipeline)
    levels, calls = [], []
    for step in (0, 5, 10):
        g.update_step(0, step)
        before = g.nfe
        out = g(renders(), PromptUtils(), **cameras(2))
        levels.append(float(out["sigma"]))
        calls.append(out["nfe"] - before)
    expected = [float(g.model.denoiser.schedule.sigma(u)) for u in (0.98, 0.5, 0.02)]
    assert levels == pytest.approx(expected, rel=1e-4)
    # calls of the inversion (time 0, the times 0.001, 0.101, ... below t) and one more, of two branches each
    assert calls == [2 * (10 + 1 + 1), 2 * (5 + 1 + 1), 2 * (1 + 1 + 1)]


def test_the_inversion_has_a_guidance_of_its_own(random_pipeline):
    g = guidance(random_pipeline)
    assert (g.scale(False), g.make_estimator(None).inversion_scale) == (8.5, -6.5)


def test_gradient_is_y_minus_the_denoised_inversion(random_pipeline):
    g = guidance(random_pipeline)
    latents = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(2)).requires_grad_()
    out = g(latents.permute(0, 2, 3, 1), PromptUtils(), **cameras(2), rgb_as_latents=True)
    (gradient,) = torch.autograd.grad(out["loss_sdi"], latents)
    assert float((2 * gradient).flatten(1).square().mean(1).sqrt().mean()) == pytest.approx(
        float(out["grad_norm"]), rel=1e-4
    )


@pytest.mark.parametrize(
    ("key", "value"), [("inversion_n_steps", 0), ("inversion_eta", -1.0), ("inversion_steps_offset", -1)]
)
def test_wrong_settings_are_refused_by_name_before_a_model_is_loaded(key, value):
    with pytest.raises(ValueError, match=key):
        guidance("nowhere", **{key: value})
