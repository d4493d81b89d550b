"""Loading of pipelines: the wrapped model is the model; what cannot be had is said."""

from __future__ import annotations

import sys

import pytest
import torch
from threestudio_msd.priors import PriorError, load_model
from threestudio_msd.priors.lora import LoRANetwork


@pytest.mark.parametrize("model", ["no-such-owner/no-such-model", "missing/folder/here/at all"])
def test_a_missing_model_is_named_with_advice(model):
    with pytest.raises(PriorError, match=model) as caught:
        load_model(model)
    assert any(word in str(caught.value) for word in ("pretrained_model_name_or_path", "owner/name"))


def test_a_broken_folder_is_named(tmp_path):
    with pytest.raises(PriorError, match=r"has no model_index\.json"):
        load_model(str(tmp_path))


def test_an_unknown_dtype_is_refused(random_pipeline):
    with pytest.raises(PriorError, match="float64"):
        load_model(str(random_pipeline), dtype="float64")


def test_bfloat16_agrees_with_float32(random_pipeline):
    z, text = torch.randn(2, 4, 4, 4), {"encoder_hidden_states": torch.randn(2, 8, 16)}
    with torch.no_grad():
        full, half = (
            load_model(str(random_pipeline), dtype=d).denoiser(z, torch.tensor(1.0), text)
            for d in ("float32", "bfloat16")
        )
    assert full.dtype == half.dtype == torch.float32
    assert torch.allclose(full, half, atol=0.1)


@pytest.mark.new_diffusers
def test_what_adapters_lack_is_told_with_what_mends_it(random_pipeline, monkeypatch):
    model = load_model(str(random_pipeline))
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(PriorError, match=r"peft.*pip install 'diffusers>=0\.33' 'peft>=0\.14'"):
        LoRANetwork(model.backbone, model.denoiser.network)
