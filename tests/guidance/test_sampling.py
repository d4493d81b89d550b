"""Unconstrained sampling from a guidance's prior."""

from __future__ import annotations

import pytest
import threestudio
import threestudio_msd  # noqa: F401  (registers)
import torch
from guidance.stand_ins import PromptUtils
from threestudio_msd.distillation import SampleNoise, seed_from
from threestudio_msd.guidance.sampling import sample_images


def guidance(folder, name="sds"):
    return threestudio.find("msd-guidance" if name == "msd" else f"msd-{name}-guidance")(
        {"pretrained_model_name_or_path": str(folder), "trainer_max_steps": 10}
    )


def test_an_image_depends_on_its_seed_and_number_alone(random_pipeline):
    g = guidance(random_pipeline)
    four = sample_images(g, PromptUtils(), 4, seed=3, steps=3, scale=2.0)
    assert four.shape == (4, 16, 16, 3)
    assert 0 <= float(four.min()) <= float(four.max()) <= 1
    torch.testing.assert_close(sample_images(g, PromptUtils(), 2, seed=3, steps=3, scale=2.0), four[:2])
    assert not torch.allclose(sample_images(g, PromptUtils(), 2, seed=4, steps=3, scale=2.0), four[:2])


def test_one_step_is_the_denoiser_at_the_highest_level(random_pipeline):
    g, utils = guidance(random_pipeline), PromptUtils()
    schedule = g.model.denoiser.schedule
    sigma = torch.tensor(schedule.sigma_max)
    z = sigma * SampleNoise([seed_from(0, "sample", 0)])(torch.zeros(1, 4, 4, 4))
    cond, uncond = (
        g.model.denoiser(z, sigma, {"encoder_hidden_states": utils.embeddings[i : i + 1]}) for i in (0, 1)
    )
    expected = g.model.decode(uncond + 3.0 * (cond - uncond)).permute(0, 2, 3, 1)
    torch.testing.assert_close(sample_images(g, utils, 1, steps=1, scale=3.0), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.new_diffusers
def test_only_the_pretrained_model_matters_not_the_method(random_pipeline):
    images = [
        sample_images(guidance(random_pipeline, name), PromptUtils(True), 1, steps=2)
        for name in ("msd", "vsd")
    ]
    torch.testing.assert_close(*images)
