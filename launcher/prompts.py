"""Prompts from files: lists of the field's data sets, and threestudio's prompt library."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from threestudio_msd.errors import UserError, first_line

LIBRARY = Path("load/prompt_library.json")
LISTS = (".txt", ".json", ".jsonl")
TEXTS = ("prompt", "caption", "text")
"""Keys of a prompt, in lists of prompts with images."""
IMAGES = (".png", ".jpg", ".jpeg", ".webp")


def prompts_of(path: Path, option: str) -> list[str]:
    """Reads a list of prompts.

    Args:
        path: Text with one prompt a line (`#` starts a comment), JSON, or JSON lines. In JSON a prompt is a
            text in a list, the value of `prompt`, `caption` or `text`, or what stands beside an image file;
            blocks such as `{"dreamfusion": [...]}` are looked into.
        option: What the user gave it to, for messages.

    Raises:
        UserError: It is missing, or holds something else.
    """
    if not path.is_file():
        raise UserError(f"{option}: no such file: {path}")
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark
    except ValueError as error:
        raise UserError(f"{option}: {path} is no text in UTF-8: {first_line(error)}") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if path.suffix == ".txt":
        return [line for line in lines if not line.startswith("#")]
    try:
        read = [json.loads(line) for line in lines] if path.suffix == ".jsonl" else json.loads(text)
        return list(_prompts_in(read))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{option}: {path} is no JSON list of prompts: {first_line(error)}") from error


def _prompts_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        own = [value[key] for key in TEXTS if isinstance(value.get(key), str)]
        blocks = [inner for inner in value.values() if isinstance(inner, (dict, list))]
        # {"dog.png": "a dog"}, or the other way round
        value = own[:1] or blocks or [word for pair in value.items() for word in _beside_image(pair)]
    if not isinstance(value, list):
        raise ValueError(f"expected prompts, got {value!r}")
    for inner in value:
        if not isinstance(inner, str):
            yield from _prompts_in(inner)
        elif not inner.lower().endswith(IMAGES):
            yield inner


def _beside_image(pair: tuple[str, Any]) -> tuple[Any]:
    key, value = pair
    return (key if str(value).lower().endswith(IMAGES) else value,)


def from_library(prompt: str, option: str = "system.prompt_processor.prompt") -> str:
    """Returns a prompt, or the one of the prompt library that has all keywords of `lib:a_b_c`.

    Raises:
        UserError: There is no library, or not exactly one of its prompts has the keywords.
    """
    if not prompt.startswith("lib:"):
        return prompt
    if not LIBRARY.is_file():
        raise UserError(f"{option}: {prompt}: there is no prompt library at {LIBRARY}")
    try:
        library = json.loads(LIBRARY.read_text(encoding="utf-8-sig"))["dreamfusion"]
        entries = {entry: entry.lower() for entry in library}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(
            f'{option}: {prompt}: {LIBRARY} is no JSON of the form {{"dreamfusion": [PROMPT, ...]}}'
        ) from error
    words = prompt.removeprefix("lib:").lower().split("_")
    found = [entry for entry, lower in entries.items() if all(word in lower for word in words)]
    if len(found) != 1:
        raise UserError(f"{option}: {prompt}: {len(found)} prompts of {LIBRARY} have these keywords, not 1")
    return found[0]
