"""The figures of a comparison, typed; as JSON and back."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from math import isnan, nan
from typing import Any, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

from ..report.table import Spread

Figures: TypeAlias = dict[str, Spread]
"""Figures by name, each with a value a seed; NaN where a value is unknown."""

T = TypeVar("T")


@dataclass(frozen=True)
class About:
    """What figures depend on, to be printed beside them.

    Attributes:
        features: Extractors, with layer, size and resize mode.
        images: Images measured.
        images_per_seed: Of these, with one seed.
        seeds: The seeds.
        prompts: The prompts.
        references: Images of every reference.
        precision_recall: Neighbours.
        spread: What ± stands for.
        sampling: How DDIM images were sampled.
    """

    features: str
    images: int
    images_per_seed: int
    seeds: tuple[int, ...]
    prompts: tuple[str, ...]
    references: dict[str, int]
    precision_recall: str = ""
    spread: str = "mean and standard deviation (n - 1) over seeds"
    sampling: str = ""


@dataclass(frozen=True)
class Point:
    """Quality at one frame of the path: optimiser steps done, evaluations spent on a particle, figures."""

    step: int
    nfe: float
    figures: Figures


@dataclass(frozen=True)
class Row:
    """A method at a budget.

    Attributes:
        steps: Optimiser steps that its runs were given.
        nfe: Network function evaluations spent on one particle.
        finished: Runs that finished.
        asked: Runs that were asked for.
        figures: Of the resulting images.
        curve: Along the path.
        command: That of the first run.
        config: The first run's resolved config.
        flop: Floating point operations of one particle, without rendering the results.
        taken: Mean optimiser steps that its runs took: fewer than `steps` where they stop early.
        seconds: Mean wall time of a run.
    """

    steps: int
    nfe: float
    finished: int
    asked: int
    figures: Figures
    curve: tuple[Point, ...]
    command: str = ""
    config: str = ""
    flop: float = nan
    taken: float = nan
    seconds: float = nan


Rows: TypeAlias = dict[str, Row]
"""A budget's methods by label."""


@dataclass(frozen=True)
class Failure:
    """A run that failed: its folder and the error."""

    run: str
    error: str


@dataclass(frozen=True)
class Results:
    """The figures of a comparison of images: `results.json`.

    Attributes:
        about: What figures depend on.
        ddim: Figures of DDIM images that are measured like a method's: the floor.
        budgets: The rows of every budget.
        failed: Runs that are missing.
        truth: Figures of as many true renders, measured like a method's; empty for prompts of no known world.
    """

    about: About
    ddim: Figures
    budgets: dict[str, Rows]
    failed: tuple[Failure, ...] = ()
    truth: Figures = field(default_factory=dict)


def to_json(value: object) -> Any:
    """A result as plain containers; what is unknown (NaN) is null."""
    if isinstance(value, Spread):
        return {name: to_json(getattr(value, name)) for name in ("mean", "std", "values")}
    if is_dataclass(value):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): to_json(entry) for name, entry in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_json(entry) for entry in value]
    return None if isinstance(value, float) and isnan(value) else value


def from_json(kind: type[T], plain: Any) -> T:
    """The value of this type of which `to_json` made these containers.

    Raises:
        TypeError: A field without a default is missing.
    """
    arguments = get_args(kind)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        given = [name for name in (field.name for field in fields(kind)) if name in plain]
        return kind(**{name: from_json(hints[name], plain[name]) for name in given})
    if get_origin(kind) is dict:
        return {name: from_json(arguments[1], entry) for name, entry in plain.items()}
    if get_origin(kind) is tuple:
        return tuple(from_json(arguments[0], entry) for entry in plain)
    return nan if plain is None else plain
