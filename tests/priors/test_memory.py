"""Options of memory and speed, which change no result."""

from __future__ import annotations

import pytest
import threestudio
import threestudio_msd  # noqa: F401  (registers)
import torch
from guidance.stand_ins import PromptUtils, cameras, renders
from threestudio_msd.priors import PriorError, load_model
from threestudio_msd.priors.memory import OPTIONS, MemoryOptions, apply, method


def loss(folder, **options):
    guidance = threestudio.find("msd-sds-guidance")({"pretrained_model_name_or_path": str(folder), **options})
    return guidance, guidance(renders(), PromptUtils(), **cameras(2))["loss_sds"]


@pytest.mark.parametrize("name", sorted(set(OPTIONS) - {"enable_compile", "enable_vae_tiling"}))
def test_an_option_changes_no_result(random_pipeline, name):
    torch.testing.assert_close(loss(random_pipeline, **{name: True})[1], loss(random_pipeline)[1])


def test_every_option_is_a_setting():
    assert set(OPTIONS) == set(MemoryOptions.__dataclass_fields__)


def test_they_reach_network_and_autoencoder(random_pipeline):
    model = load_model(str(random_pipeline))
    apply(model, ["enable_vae_slicing", "enable_vae_tiling", "enable_channels_last_format", "enable_compile"])
    assert model.space.vae.use_slicing
    assert model.space.vae.use_tiling
    assert model.backbone.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    assert model.backbone._compiled_call_impl is not None


def test_one_that_a_model_does_not_have_is_refused():
    with pytest.raises(PriorError, match="a Linear has no enable_tiling: leave that option off"):
        method(torch.nn.Linear(1, 1), "enable_tiling")
