"""The prompt processor of every family."""

from __future__ import annotations

import pytest
import threestudio
import torch
from guidance.stand_ins import cameras
from threestudio_msd.guidance import prompts
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


@pytest.mark.new_diffusers
def test_a_later_run_needs_no_text_encoder(pipeline_of, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    folder = pipeline_of("sd3")
    first = processor(folder, negative_prompt="ugly")()
    monkeypatch.setattr(prompts, "embed_prompts", lambda *_: pytest.fail("the encoders are loaded"))
    again = processor(folder, negative_prompt="ugly")()
    assert torch.equal(again.text_embeddings, first.text_embeddings)
    assert torch.equal(again.uncond_text_embeddings, first.uncond_text_embeddings)
    (path,) = prompts.CACHE.iterdir()
    path.write_bytes(b"damaged")
    embedded = [torch.zeros_like(first.text_embeddings[0])] * 7
    monkeypatch.setattr(prompts, "embed_prompts", lambda texts, *_: torch.stack(embedded[: len(texts) + 1]))
    assert torch.equal(processor(folder, negative_prompt="ugly")().text_embeddings[0], embedded[0])
