"""Prompt lists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def read_prompts(words: Sequence[str]) -> list[str]:
    """Prompts from a command line: each word is a file with one prompt a line (`#` starts a comment), or a prompt itself.

    Raises:
        ValueError: If there is no prompt, a word that ends in `.txt` is no file, or a prompt comes twice.
    """
    prompts: list[str] = []
    for word in words:
        if word.endswith(".txt"):
            if not Path(word).is_file():
                raise ValueError(f"prompts: no such file: {word}")
            lines = Path(word).read_text(encoding="utf-8").splitlines()
            prompts += [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
        else:
            prompts.append(word)
    if not prompts or not all(prompts):
        raise ValueError("prompts: none given, or an empty one")
    twice = sorted({prompt for prompt in prompts if prompts.count(prompt) > 1})
    if twice:
        raise ValueError(f"prompts: given twice: {', '.join(twice)}")
    return prompts
