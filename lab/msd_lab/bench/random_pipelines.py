"""Pipelines with random weights, as folders: the real classes and files without a hub."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import torch
from threestudio_msd.distillation import seed_from
from threestudio_msd.errors import UserError, did_you_mean
from threestudio_msd.files import save_text
from threestudio_msd.priors.sources import INDEX
from torch import nn

from .architectures import ARCHITECTURES, SIZES, TOKENS, Architecture, Part

Changes = Mapping[str, Mapping[str, Any]]
"""Settings that replace those of parts, by folder."""


def architecture(like: str, size: str) -> Architecture:
    """Look up a known pipeline.

    Raises:
        UserError: The pipeline, or the size, is not known.
    """
    for option, value, known in (("--like", like, ARCHITECTURES), ("--size", size, SIZES)):
        if value not in known:
            raise UserError(
                f"{option}: expected one of {', '.join(known)}, got {value!r}{did_you_mean(value, known)}"
            )
    return ARCHITECTURES[like]


def save_random_pipeline(
    folder: Path,
    like: str,
    size: str = "tiny",
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    tokens: int | None = None,
    changes: Changes | None = None,
    redraw: float = 0.0,
) -> Path:
    """Write a pipeline with random weights, one part in memory at a time.

    Args:
        folder: Folder to write; overwritten.
        like: One of `ARCHITECTURES`.
        size: One of `SIZES`.
        seed: Seed of the weights; a part's depend on it and on the part's name alone.
        dtype: Precision of the weights.
        tokens: Length of CLIP's prompts; `TOKENS` by default.
        changes: Settings of parts.
        redraw: Standard deviation of the noise that `redrawn` adds to every parameter; 0 is none.

    Returns:
        The folder.

    Raises:
        UserError: The pipeline, or the size, is not known.
    """
    import diffusers  # a second to import

    known, length = architecture(like, size), tokens or TOKENS[size]
    optional = getattr(diffusers, known.pipeline)._optional_components
    index: dict[str, Any] = {"_class_name": known.pipeline, "_diffusers_version": diffusers.__version__}
    index |= {**dict.fromkeys(optional, (None, None)), **known.settings}
    for name, part in known.parts.items():
        config = {**part.config(size), **(changes or {}).get(name, {})}
        if name.startswith("text_encoder"):
            kind = name.replace("text_encoder", "tokenizer")
            tokenizer = save_tokenizer(folder / kind, part.cls, length)
            index[kind] = [type(tokenizer).__module__.split(".")[0], type(tokenizer).__name__]
            config = with_tokenizer(config, tokenizer, part.cls, length)
        with drawing(seed_from(seed, name), dtype):
            made = build(part, config)
            if redraw and isinstance(made, nn.Module):
                redrawn(made, redraw)
        if isinstance(made, nn.Module) and any(p.dtype != dtype for p in made.parameters()):
            made.to(dtype)
        made.save_pretrained(folder / name, safe_serialization=True)
        index[name] = [part.library, part.cls]
    if "safety_checker" in index:
        index["requires_safety_checker"] = False
    save_text(json.dumps(index, indent=2), folder / INDEX)
    return folder


def redrawn(module: nn.Module, std: float) -> None:
    """Add normal noise to every parameter, and draw the moments of batch norms.

    New transformers start with gates, modulations and last layers of zero: they answer zero at any time and
    prompt.
    """
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += std * torch.randn_like(parameter)
        for name, buffer in module.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.uniform_(0.5, 1.5)


def build(part: Part, config: Mapping[str, Any] | None = None) -> Any:
    """Build a part, at full size by default, with the weights that its class begins with."""
    cls, config = getattr(importlib.import_module(part.library), part.cls), config or part.full
    return cls(cls.config_class(**config)) if part.library == "transformers" else cls(**config)


def parameters(like: str, size: str = "full") -> dict[str, int]:
    """Count the parameters of each part with weights; nothing is computed.

    Raises:
        UserError: The pipeline, or the size, is not known.
    """
    parts = architecture(like, size).parts.items()
    built = {name: on_meta(part, size) for name, part in parts if name != "scheduler"}
    return {name: sum(p.numel() for p in module.parameters()) for name, module in built.items()}


def on_meta(part: Part, size: str = "full") -> nn.Module:
    """Build a part without its weights' memory."""
    with torch.device("meta"):
        made = build(part, {key: value for key, value in part.config(size).items() if value is not None})
    return made.to("meta")  # with the tables that a class makes elsewhere


def save_tokenizer(folder: Path, encoder: str, tokens: int) -> Any:
    """Write a tokenizer of single letters for a text encoder's class: any lower-case prompt tokenises."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {"CLIP": clip_tokenizer, "T5": t5_tokenizer, "Gemma": gemma_tokenizer, "Qwen": qwen_tokenizer}
    kind = next(kind for kind in kinds if encoder.startswith(kind))
    tokenizer = kinds[kind](folder, tokens)
    tokenizer.save_pretrained(folder)
    return tokenizer


CHAT = """{% for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% if not enable_thinking %}<think></think>{% endif %}{% endif %}"""
"""A chat template in the manner of Qwen3's."""


def qwen_tokenizer(folder: Path, tokens: int) -> Any:
    from transformers import Qwen2Tokenizer

    letters = [chr(c) for c in range(33, 127)]
    words = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *letters, "\u0120", "\u010a"]  # space, newline
    vocabulary = {word: i for i, word in enumerate(words)}
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=[], model_max_length=256)
    tokenizer.chat_template = CHAT
    return tokenizer


def gemma_tokenizer(folder: Path, tokens: int) -> Any:
    from transformers import GemmaTokenizer

    letters = [chr(c) for c in range(33, 127)]
    words = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *letters, "\u2581", "\n"]
    return GemmaTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[])


def clip_tokenizer(folder: Path, tokens: int) -> Any:
    from transformers import CLIPTokenizer

    letters = [chr(c) for c in range(33, 127)]
    words = [*letters, *[f"{letter}</w>" for letter in letters], "<|startoftext|>", "<|endoftext|>"]
    save_text(json.dumps({word: i for i, word in enumerate(words)}), folder / "vocab.json")
    save_text("#version: 0.2\n", folder / "merges.txt")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=tokens)


def t5_tokenizer(folder: Path, tokens: int) -> Any:
    """Build T5's tokenizer of single letters, which it reads from a file before transformers 5.

    Raises:
        ImportError: transformers is older and sentencepiece, which writes that file, is missing.
    """
    from transformers import T5Tokenizer, __version__

    special = ("<pad>", "</s>", "<unk>")
    if int(__version__.partition(".")[0]) >= 5:
        letters = [(letter, -3.0) for letter in ascii_lowercase]
        vocabulary = [*((word, 0.0) for word in special), *letters, ("\u2581", -2.0)]
        return T5Tokenizer(vocab=vocabulary, extra_ids=0)
    from sentencepiece import SentencePieceTrainer

    SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(ascii_lowercase)]),
        model_prefix=str(folder / "spiece"),
        model_type="char",
        vocab_size=len(special) + len(ascii_lowercase) + 1,
        **{"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "minloglevel": 1},
    )
    return T5Tokenizer(str(folder / "spiece.model"), extra_ids=0, legacy=False)


def with_tokenizer(config: Mapping[str, Any], tokenizer: Any, encoder: str, tokens: int) -> dict[str, Any]:
    """Adapt a text encoder's configuration to what the tokenizer writes."""
    if "text_config" in config:
        text = with_tokenizer(config["text_config"], tokenizer, encoder, tokens)
        return {**config, "text_config": text}
    fitted = {**config, "vocab_size": config.get("vocab_size") or len(tokenizer)}
    if encoder.startswith("CLIP"):
        ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
        return {**fitted, **ids, "max_position_embeddings": tokens}
    return fitted


def save_random_clip(folder: Path) -> None:
    """Write a small CLIP model with random weights, and its tokenizer."""
    from transformers import CLIPConfig, CLIPModel

    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = with_tokenizer(small, save_tokenizer(folder, "CLIPModel", 8), "CLIPModel", 8)
    vision = {**small, "image_size": 32, "patch_size": 16}
    with drawing(0, torch.float32):
        model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12))
    model.save_pretrained(folder)


@contextmanager
def drawing(seed: int, dtype: torch.dtype) -> Iterator[None]:
    """Draw new parameters from a seed, in a precision: a large part never lies in memory in float32."""
    before = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_default_dtype(dtype)
        try:
            yield
        finally:
            torch.set_default_dtype(before)
