"""Prompts from a command line."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from threestudio_msd.errors import UserError

from launcher.prompts import LISTS, from_library, prompts_of

OVERRIDE = re.compile(
    r"(\w+(\.\w+)+|name|description|tag|seed|use_timestamp|timestamp|exp_root_dir|resume|"
    r"(data|system)(_type)?|trainer|checkpoint|n_gpus|exp_dir|trial_name|trial_dir)="
)
"""What is no prompt but a setting: a key of several words, or one that an experiment has."""


def read_prompts(words: Sequence[str], option: str = "--prompts") -> list[str]:
    """Prompts from a command line.

    Args:
        words: Each is a list of prompts (see `launcher.prompts.prompts_of`), `lib:a_b_c` of the
            prompt library, or a prompt itself.
        option: The option that they were given to.

    Raises:
        UserError: There is no prompt, a word names no list of prompts, or a prompt comes twice.
    """
    prompts: list[str] = []
    for word in words:
        if word.endswith(LISTS):
            prompts += prompts_of(Path(word), option)
        elif len(Path(word).suffix) > 1 and os.path.isfile(word):
            raise UserError(f"{option}: {word}: expected a list of prompts, {', '.join(LISTS)}")
        else:
            prompts.append(from_library(word, option))
    if not prompts or not all(prompt.strip() for prompt in prompts):
        raise UserError(f"{option}: none given, or an empty one")
    twice = sorted({prompt for prompt in prompts if prompts.count(prompt) > 1})
    if twice:
        raise UserError(f"{option}: given twice: {', '.join(twice)}")
    return prompts


def split_overrides(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Prompts, and the `key=value` settings among them, which a list of any length would swallow.

    >>> split_overrides(["a red mug", "a=b", "data.height=32"])
    (['a red mug', 'a=b'], ['data.height=32'])
    """
    overrides = [word for word in words if OVERRIDE.match(word)]
    return [word for word in words if word not in overrides], overrides
