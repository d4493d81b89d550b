"""Pipelines with random weights, as folders: the real classes and files without a hub."""

from __future__ import annotations

import importlib
import inspect
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
    """A known pipeline's parts.

    Raises:
        UserError: It, or the size, is not known.
    """
    for option, value, known in (("--like", like, ARCHITECTURES), ("--size", size, SIZES)):
        if value not in known:
            raise UserError(
                f"{option}: expected one of {', '.join(known)}, got {value!r}{did_you_mean(value, known)}"
            )
    return ARCHITECTURES[like](size)


def save_random_pipeline(
    folder: Path,
    like: str,
    size: str = "tiny",
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    tokens: int | None = None,
    changes: Changes | None = None,
) -> Path:
    """Write a pipeline with random weights, one part in memory at a time.

    Args:
        folder: Where to; what is there is overwritten.
        like: One of `ARCHITECTURES`.
        size: One of `SIZES`.
        seed: Of the weights; a part's depend on its own name alone.
        dtype: Of the weights.
        tokens: Length of CLIP's prompts; as published by default, and 8 in a tiny one.
        changes: Settings of parts.

    Returns:
        The folder.

    Raises:
        UserError: What to write is not known.
    """
    import diffusers  # a second to import

    made, index = architecture(like, size), {}
    for name, part in made.parts.items():
        config = {**part.config, **(changes or {}).get(name, {})}
        if name.startswith("text_encoder"):
            kind = name.replace("text_encoder", "tokenizer")
            tokenizer = save_tokenizer(folder / kind, part.cls, tokens or TOKENS[size])
            index[kind] = [type(tokenizer).__module__.split(".")[0], type(tokenizer).__name__]
            config = with_tokenizer(config, tokenizer, part.cls, tokens or TOKENS[size])
        with seeded(seed_from(seed, name)):
            save_part(folder / name, Part(part.cls, config, part.library), dtype)
        index[name] = [part.library, part.cls]
    head = {"_class_name": made.pipeline, "_diffusers_version": diffusers.__version__}
    save_text(json.dumps({**head, **made.settings, **index}, indent=2), folder / INDEX)
    return folder


def save_part(folder: Path, part: Part, dtype: torch.dtype) -> None:
    """Write a part, of the given precision where it has weights."""
    with default_dtype(dtype):  # so that a large one never lies in memory in float32
        made = build(part)
    if isinstance(made, nn.Module) and any(p.dtype != dtype for p in made.parameters()):
        made.to(dtype)
    asked = inspect.signature(made.save_pretrained).parameters  # older libraries pickle unless asked not to
    made.save_pretrained(folder, **{name: True for name in ("safe_serialization",) if name in asked})


def build(part: Part) -> Any:
    """A part with the weights that its class begins with."""
    cls = getattr(importlib.import_module(part.library), part.cls)
    config = dict(part.config)
    return cls(cls.config_class(**config)) if part.library == "transformers" else cls(**config)


def parameters(like: str, size: str = "full") -> dict[str, int]:
    """How many parameters each part with weights has; nothing is computed.

    Raises:
        UserError: What to look at is not known.
    """
    found = {}
    for name, part in architecture(like, size).parts.items():
        if name != "scheduler":
            found[name] = sum(parameter.numel() for parameter in on_meta(part).parameters())
    return found


def on_meta(part: Part) -> nn.Module:
    """A part without its weights' memory."""
    config = {key: value for key, value in part.config.items() if value is not None}
    with torch.device("meta"):
        made = build(Part(part.cls, config, part.library))
    return made.to("meta")  # with the tables that a class makes elsewhere


def save_tokenizer(folder: Path, encoder: str, tokens: int) -> Any:
    """A tokenizer of single letters for a text encoder's class: any lower-case prompt tokenises."""
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    if encoder.startswith("T5"):
        tokenizer = t5_tokenizer(folder)
    else:
        letters = [chr(c) for c in range(33, 127)]
        words = [*letters, *[f"{letter}</w>" for letter in letters], "<|startoftext|>", "<|endoftext|>"]
        save_text(json.dumps({word: i for i, word in enumerate(words)}), folder / "vocab.json")
        save_text("#version: 0.2\n", folder / "merges.txt")
        files = (str(folder / "vocab.json"), str(folder / "merges.txt"))
        tokenizer = CLIPTokenizer(*files, model_max_length=tokens)
    tokenizer.save_pretrained(folder)
    return tokenizer


def t5_tokenizer(folder: Path) -> Any:
    """T5's tokenizer with single letters; before transformers 5 it reads them from a file, written here.

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
    """A text encoder's configuration, made to read what the tokenizer writes."""
    fitted = {**config, "vocab_size": config["vocab_size"] or len(tokenizer)}
    if encoder.startswith("CLIP"):
        ids = (f"{kind}_token_id" for kind in ("bos", "eos", "pad"))
        fitted |= {name: getattr(tokenizer, name) for name in ids}
        fitted["max_position_embeddings"] = tokens
    return fitted


def save_random_clip(folder: Path) -> None:
    """Write a small CLIP model with random weights, and its tokenizer."""
    from transformers import CLIPConfig, CLIPModel

    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    tokenizer = save_tokenizer(folder, "CLIPModel", 8)
    ids = {f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in ("bos", "eos", "pad")}
    text = {**small, **ids, "vocab_size": len(tokenizer), "max_position_embeddings": 8}
    vision = {**small, "image_size": 32, "patch_size": 16}
    with seeded(0):
        CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).save_pretrained(
            folder
        )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random numbers from a seed, and the outer ones as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """New parameters in a precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
