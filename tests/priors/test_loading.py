"""Loading of pipelines: the wrapped model is the model; what cannot be had is said."""

from __future__ import annotations

import pytest
import torch
from threestudio_msd.priors import PriorError, load_model


@pytest.mark.parametrize("model", ["no-such-owner/no-such-model", "missing/folder/here/at all"])
def test_a_missing_model_is_named_with_advice(model):
    with pytest.raises(PriorError, match=model) as caught:
        load_model(model)
    assert "pretrained_model_name_or_path" in str(caught.value)


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
