"""Prompts from a command line."""

import re
from collections.abc import Sequence
from pathlib import Path

from threestudio_msd.errors import UserError, first_line

OVERRIDE = re.compile(
    r"(\w+(\.\w+)+|name|description|tag|seed|use_timestamp|timestamp|exp_root_dir|resume|"
    r"(data|system)(_type)?|trainer|checkpoint|n_gpus|exp_dir|trial_name|trial_dir)="
)
"""What is no prompt but a setting: a key of several words, or one that an experiment has."""


def read_prompts(words: Sequence[str], option: str = "--prompts") -> list[str]:
    """Prompts from a command line.

    Args:
        words: Each is a file with one prompt a line (`#` starts a comment), or a prompt itself.
        option: The option that they were given to.

    Raises:
        UserError: There is no prompt, a word that ends in `.txt` is no file of text, or a prompt comes twice.
    """
    prompts: list[str] = []
    for word in words:
        prompts += _lines(Path(word), option) if word.endswith(".txt") else [word]
    if not prompts or not all(prompt.strip() for prompt in prompts):
        raise UserError(f"{option}: none given, or an empty one")
    twice = sorted({prompt for prompt in prompts if prompts.count(prompt) > 1})
    if twice:
        raise UserError(f"{option}: given twice: {', '.join(twice)}")
    return prompts


def _lines(path: Path, option: str) -> list[str]:
    if not path.is_file():
        raise UserError(f"{option}: no such file: {path}")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()  # some editors begin a file with a mark
    except ValueError as error:
        raise UserError(f"{option}: {path} is no text in UTF-8: {first_line(error)}") from error
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def split_overrides(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Prompts, and the `key=value` settings among them, which a list of any length would swallow.

    >>> split_overrides(["a red mug", "a=b", "data.height=32"])
    (['a red mug', 'a=b'], ['data.height=32'])
    """
    overrides = [word for word in words if OVERRIDE.match(word)]
    return [word for word in words if word not in overrides], overrides
