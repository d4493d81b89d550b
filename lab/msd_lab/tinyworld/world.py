"""What the tiny world holds, and how a prompt names it.

The world is every coloured object of [`OBJECTS`][] x [`COLOURS`][], seen from all
round. Captions are written as threestudio's prompt processor writes them: ``"a red
mug"``, with its view ``"a red mug, side view"``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from threestudio_msd.vocabulary import faults, words_of

OBJECTS: tuple[str, ...] = (
    "airplane", "boat", "car", "cat", "chair", "duck", "fish", "house", "mug", "robot", "rocket", "teapot",
)  # fmt: skip

# colour name -> albedo in [0, 1] (display space)
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.07, 0.07),
    "orange": (0.98, 0.46, 0.03),
    "yellow": (0.98, 0.88, 0.12),
    "green": (0.10, 0.62, 0.18),
    "blue": (0.10, 0.26, 0.88),
    "purple": (0.48, 0.13, 0.70),
    "pink": (0.99, 0.50, 0.72),
    "black": (0.10, 0.10, 0.11),
}

# kind of word -> the words of that kind, as the prior's `vocabulary.json` holds them
VOCABULARY = {"object": OBJECTS, "colour": tuple(COLOURS)}

# view names in the order of threestudio's prompt processor: a later one overrides an earlier one
VIEWS: tuple[str, ...] = ("side", "front", "back", "overhead")

# (object, colour) pairs that the prior never sees: one per object, each colour once or twice
HELD_OUT: frozenset[tuple[str, str]] = frozenset(
    (name, list(COLOURS)[(3 * i + i // 8) % len(COLOURS)]) for i, name in enumerate(OBJECTS)
)

_VIEW = re.compile(r"\b(side|front|back|backside|overhead)\s+view\b")


@dataclass(frozen=True)
class Caption:
    """An object of the world in a colour, seen from a side (``None``: from any).

    Example:
        >>> Caption("mug", "red", "side").text
        'a red mug, side view'
        >>> Caption("airplane", "orange").text
        'an orange airplane'
    """

    object: str
    colour: str
    view: str | None = None

    @property
    def text(self) -> str:
        article = "an" if self.colour[0] in "aeiou" else "a"
        view = "" if self.view is None else f", {self.view} view"
        return f"{article} {self.colour} {self.object}{view}"

    @property
    def held_out(self) -> bool:
        return (self.object, self.colour) in HELD_OUT


@dataclass(frozen=True)
class Prediction:
    """What a classifier reads in each of ``n`` images: lists of length ``n``.

    Attributes:
        object: Names of [`OBJECTS`][], or ``"nothing"``; colour and view then mean
            little.
        colour: Names of [`COLOURS`][].
        view: Names of [`VIEWS`][]; None from a classifier that reads no view.
    """

    object: list[str]
    colour: list[str]
    view: list[str] | None = None

    def right(self, asked: Sequence[Caption]) -> dict[str, list[bool]]:
        """Compare with the captions asked for: whether ``object``, ``colour`` and ``both`` agree, by key.

        Raises:
            ValueError: The number of captions is not the number of images.
        """
        objects = [a.object == name for a, name in zip(asked, self.object, strict=True)]
        colours = [a.colour == name for a, name in zip(asked, self.colour, strict=True)]
        return {"object": objects, "colour": colours, "both": [*map(all, zip(objects, colours, strict=True))]}


def all_pairs() -> list[tuple[str, str]]:
    return list(product(OBJECTS, COLOURS))


def seen_pairs() -> list[tuple[str, str]]:
    return [pair for pair in all_pairs() if pair not in HELD_OUT]


def held_out_pairs() -> list[tuple[str, str]]:
    return [pair for pair in all_pairs() if pair in HELD_OUT]


def parse_prompt(prompt: str) -> Caption:
    """Read the object, the colour and the view out of a prompt.

    Args:
        prompt: Any text that names exactly one object and exactly one colour of the
            world.

    Returns:
        The caption; its view is ``None`` where the prompt names none.

    Raises:
        ValueError: The prompt does not name exactly one object and one colour; the
            message lists the world's words and, for a misspelt word, the nearest one.

    Example:
        >>> parse_prompt("a DSLR photo of a blue house, front view")
        Caption(object='house', colour='blue', view='front')
    """
    view = _VIEW.search(prompt.lower())
    text = _VIEW.sub(" ", prompt.lower())
    why = faults(text, VOCABULARY)
    if why:
        raise ValueError(
            f"The prompt {prompt!r} {' and '.join(why)}. The tiny world holds one object "
            f"({', '.join(OBJECTS)}) in one colour ({', '.join(COLOURS)}), such as "
            f"{Caption('mug', 'red').text!r} or {Caption('house', 'blue', 'front').text!r}."
        )
    found = words_of(text, VOCABULARY)
    name = None if view is None else view.group(1).replace("backside", "back")
    return Caption(found["object"][0], found["colour"][0], name)


def turn_between(a: Any, b: Any) -> Any:
    """Return the angle between two azimuths, numbers or tensors, degrees in [0, 180]."""
    return abs((a - b + 180) % 360 - 180)


def view_name(elevation: float, azimuth: float) -> str:
    """Name a camera's view as threestudio's prompt processor does, with its default thresholds.

    Args:
        elevation: Degrees above the horizon.
        azimuth: Degrees round the vertical; 0 looks at the front.
    """
    if elevation > 60:
        return "overhead"
    turn = turn_between(azimuth, 0.0)
    return "front" if turn < 45 else "back" if turn > 135 else "side"
