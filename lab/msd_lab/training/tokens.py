"""The tiny prior's tokenizer: CLIP's byte-level BPE over a small vocabulary, so that any string tokenises."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

from threestudio_msd.files import save_text
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

from ..tinyworld.world import COLOURS, OBJECTS

LENGTH = 24
# words around the subject that users write; the prior learns to ignore them
FILLERS: tuple[str, ...] = (
    "photo", "dslr", "picture", "image", "rendering", "render", "3d", "toy", "small", "shiny", "beautiful",
    "detailed", "highly", "high", "quality", "simple", "plain", "background", "white", "light", "on", "of",
    "the", "in", "with", "and", "one", "single", "cute", "realistic", "best", "masterpiece", "4k", "8k",
    "studio", "lighting", "sharp", "focus", "hd", "uhd", "octane", "blender", "unreal", "engine", "vivid",
    "professional", "photography", "photograph", "close", "up", "centered", "zoomed", "out", "wide", "angle",
    "full", "body", "very", "made", "plastic", "intricate", "details", "resolution",
)  # fmt: skip
# words of negative prompts as threestudio's users write them; the prior learns that they name
# nothing
FLAWS: tuple[str, ...] = (
    "ugly", "bad", "anatomy", "blurry", "pixelated", "obscure", "unnatural", "colors", "poor", "lighting",
    "dull", "and", "unclear", "cropped", "lowres", "low", "quality", "artifacts", "duplicate", "morbid",
    "mutilated", "poorly", "drawn", "face", "deformed", "dehydrated", "proportions", "oversaturated",
    "noise", "worst", "grayscale", "watermark", "text", "signature", "disfigured", "foggy", "shadow",
)  # fmt: skip
CAPTION_WORDS = ("a", "an", "side", "front", "back", "backside", "overhead", "view")
_START, _END = "<|startoftext|>", "<|endoftext|>"


def learn_merges(words: list[str]) -> list[tuple[str, str]]:
    """Learn byte-pair merges, most frequent pair first, until every word is one token."""
    spelt = {word: (*word[:-1], word[-1] + "</w>") for word in sorted(set(words))}
    merges: list[tuple[str, str]] = []
    while pairs := Counter(pair for symbols in spelt.values() for pair in pairwise(symbols)):
        merges.append(min(pairs, key=lambda pair: (-pairs[pair], pair)))
        spelt = {word: _merge(symbols, merges[-1]) for word, symbols in spelt.items()}
    return merges


def _merge(symbols: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    merged: list[str] = []
    for symbol in symbols:
        if merged and (merged[-1], symbol) == pair:
            merged[-1] += symbol
        else:
            merged.append(symbol)
    return tuple(merged)


def save_tokenizer(folder: Path) -> CLIPTokenizer:
    merges = learn_merges([*OBJECTS, *COLOURS, *FILLERS, *FLAWS, *CAPTION_WORDS])
    symbols = sorted(ByteLevel.alphabet())
    tokens = [*symbols, *(s + "</w>" for s in symbols), *("".join(pair) for pair in merges), _START, _END]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    special = {"bos_token": _START, "eos_token": _END, "unk_token": _END, "pad_token": _END}
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": LENGTH,
        "do_lower_case": True,
        **special,
    }
    for name, text in {
        "vocab.json": json.dumps(vocabulary, ensure_ascii=False),
        "merges.txt": "#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges) + "\n",
        "tokenizer_config.json": json.dumps(settings, indent=2) + "\n",
        "special_tokens_map.json": json.dumps(special, indent=2) + "\n",
    }.items():
        save_text(text, folder / name)
    return CLIPTokenizer.from_pretrained(folder)
