"""Methods, the rows of a comparison, and how a command line or a file names them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threestudio_msd.errors import UserError

from launcher.config import current_path, load_yaml

from .prompts import OVERRIDE

SETTING = re.compile(r",(?=[\w.]+=)")
"""Where a setting begins: a comma inside a list of numbers does not count."""
RESERVED = (
    *("exp_root_dir", "name", "tag", "timestamp", "use_timestamp", "seed", "resume"),
    *("system.prompt_processor.prompt", "system.progress_every", "data.n_particles"),
    *("trainer.max_steps", "trainer.val_check_interval", "trainer.limit_val_batches"),
)
"""Settings that the comparison makes in every run and a method may not."""
LABEL = re.compile(r"[^\W_][^/\\:\x00-\x1f]{0,79}")
DDIM = "DDIM"
"""The label of the row of samples, which is no method."""


@dataclass(frozen=True)
class Method:
    """A row of a comparison.

    Attributes:
        label: Its name in tables and folders.
        config: The experiment's YAML file.
        overrides: `key=value` settings on top of it.

    Raises:
        UserError: The label cannot name a folder, or a setting is malformed or reserved.
    """

    label: str
    config: str
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not LABEL.fullmatch(self.label) or self.label == DDIM:
            raise UserError(
                f"--configs: {self.label!r} cannot be a label: it begins with a letter or a digit, has no "
                f"slash, colon or backslash, and is not {DDIM}"
            )
        for override in self.overrides:
            key, equals, _ = override.partition("=")
            if not equals or key in RESERVED:
                fault = f"{key} is the comparison's to set" if equals else f"{override!r} is no key=value"
                raise UserError(f"--configs: {self.label}: {fault}")

    @property
    def word(self) -> str:
        """The word that `parse` reads as this method."""
        return ",".join([f"{self.label}={self.config}", *self.overrides])

    @classmethod
    def parse(cls, word: str) -> Method:
        """Read `[LABEL=]FILE[,key=value...]`; the default label is the file's name up to its first hyphen.

        A file's name may hold commas, equals signs and spaces: the longest part that is a file is taken.

        Raises:
            UserError: No part is a file, or see `Method`.
        """
        for end in (len(word), *(comma.start() for comma in reversed([*SETTING.finditer(word)]))):
            for start in (0, *(equals.end() for equals in re.finditer("=", word[:end]))):
                path = Path(current_path(word[start:end]))
                if path.is_file():
                    label = word[: start - 1] if start else path.stem.split("-")[0].upper()
                    settings = SETTING.split(word[end + 1 :]) if word[end + 1 :] else []
                    return cls(label, str(path.resolve()), tuple(settings))
        file = SETTING.split(word)[0]
        if OVERRIDE.match(word):
            raise UserError(f"--configs: {word}: a method's settings follow its file: FILE,{word}")
        raise UserError(f"--configs: no such file: {file.partition('=')[2] or file}")


def read_methods(words: Sequence[str]) -> list[Method]:
    """Read the methods of a command line, each a word for `Method.parse` or a file that lists methods.

    Such a file has the key `methods`: by label, `config` (relative to the file) and perhaps `overrides`.

    Raises:
        UserError: A file is missing or malformed, or two methods share a label.
    """
    methods = [method for word in words for method in _listed(word) or [Method.parse(word)]]
    labels = [method.label for method in methods]
    if len(set(labels)) < len(labels):
        raise UserError(f"--configs: methods need different names (LABEL=FILE), got {', '.join(labels)}")
    return methods


def _listed(word: str) -> list[Method]:
    """The methods of a file that lists some; none if the word is another file or no file."""
    rows: Any = load_yaml(word).get("methods") if Path(word).is_file() else None
    try:
        return [
            Method(
                str(label),
                str((Path(word).parent / row["config"]).resolve()),
                tuple(f"{key}={value}" for key, value in (row.get("overrides") or {}).items()),
            )
            for label, row in (rows or {}).items()
        ]
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"--configs: {word}: expected methods: LABEL: {{config, overrides}}") from error
