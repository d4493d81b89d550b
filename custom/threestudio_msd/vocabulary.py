"""The words that a small prior knows: `vocabulary.json` in its folder, `{"object":
[...], ...}`.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

FILE = "vocabulary.json"
Vocabulary = Mapping[str, Sequence[str]]
"""Kind of word (object, colour) -> the words of that kind; a caption holds one of each.
"""


def words_of(text: str, vocabulary: Vocabulary) -> dict[str, list[str]]:
    """Find the known words in a text.

    Returns:
        Kind of word -> the words of that kind in the text, each once, in the text's
        order.
    """
    words = re.findall(r"[a-z]+", text.lower())
    return {kind: list(dict.fromkeys(w for w in words if w in known)) for kind, known in vocabulary.items()}


def faults(text: str, vocabulary: Vocabulary) -> list[str]:
    """List the reasons why a text is no caption of the vocabulary, which has exactly
    one word of each kind.

    Args:
        text: Any text.
        vocabulary: Words by kind.

    Returns:
        Part of a sentence for each kind that does not occur exactly once, such as
        "names no object of the world", with the nearest known word; empty if the text
        is a caption.
    """
    reasons = []
    for kind, found in words_of(text, vocabulary).items():
        if len(found) > 1:
            reasons.append(
                f"names {len(found)} {kind}s ({', '.join(found)}) where the world has one at a time"
            )
        elif not found:
            near = [
                match
                for word in re.findall(r"[a-z]+", text.lower())
                for match in difflib.get_close_matches(word, vocabulary[kind], n=1, cutoff=0.75)
            ]
            reasons.append(
                f"names no {kind} of the world" + (f" (did you mean {near[0]!r}?)" if near else "")
            )
    return reasons


def unknown_prompt(prompt: str, model: str) -> str | None:
    """Compose a warning for a prompt that a small prior was not trained on.

    Args:
        prompt: The user's prompt. The empty prompt counts as known, as it is the
            unconditional one.
        model: The prior's folder.

    Returns:
        A warning of one paragraph; None if the prompt is known, or the folder has no
        `vocabulary.json`.
    """
    path = Path(model, FILE)
    if not prompt.strip() or not path.is_file():
        return None
    vocabulary = json.loads(path.read_text(encoding="utf-8"))
    why = faults(prompt, vocabulary)
    if not why:
        return None
    world = " in ".join(f"one {kind} ({', '.join(words)})" for kind, words in vocabulary.items())
    return (
        f"The prompt {prompt!r} {' and '.join(why)}. The tiny world holds {world}. "
        "The tiny prior was trained on nothing else, so expect an arbitrary image."
    )
