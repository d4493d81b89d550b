"""Feature extractors with random weights, as folders."""

from __future__ import annotations

from pathlib import Path

import torch
from pipelines import save_tokenizer


def save_clip(folder: Path) -> str:
    """Write a small CLIP model with its tokenizer."""
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    save_tokenizer(folder)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    size = len(CLIPTokenizer.from_pretrained(folder))
    text = {
        **small,
        "vocab_size": size,
        "max_position_embeddings": 8,
        "bos_token_id": size - 2,
        "eos_token_id": size - 1,
    }
    torch.manual_seed(0)
    CLIPModel(
        CLIPConfig(
            text_config=text, vision_config={**small, "image_size": 32, "patch_size": 16}, projection_dim=12
        )
    ).save_pretrained(folder)
    return str(folder)
