"""The prompt processor of every family."""

from __future__ import annotations

import pytest
import threestudio
import torch
from guidance.stand_ins import cameras
from threestudio_msd.priors import PriorError, embed_prompts


def processor(folder, **cfg):
    settings = {"pretrained_model_name_or_path": folder, "prompt": "a mug", **cfg}
    return threestudio.find("msd-pipeline-prompt-processor")(settings)


@pytest.mark.new_diffusers
def test_prompts_of_all_views_are_embedded(pipeline_of):
    folder = pipeline_of("sdxl")
    outputs = processor(folder, negative_prompt="ugly")()
    plain, negative, front = embed_prompts(["a mug", "ugly", "a mug, front view"], folder)
    torch.testing.assert_close(outputs.text_embeddings[0], plain)
    torch.testing.assert_close(outputs.uncond_text_embeddings[0], negative)
    found = outputs.get_text_embeddings(**cameras(1))
    torch.testing.assert_close(found, torch.stack([front, negative]))


def test_missing_text_encoders_are_told(tmp_path):
    with pytest.raises(PriorError, match=r"has no model_index\.json"):
        processor(str(tmp_path))
