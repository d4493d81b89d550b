"""Writes the model card's tables from figures beside their goals, so that none is typed by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from threestudio_msd.files import save_text

from ..report.table import UNKNOWN, Table
from ..tinyworld.judge import NOTHING
from ..tinyworld.world import OBJECTS

VIEW_GOALS = {"side": 0.75, "front": 0.80, "back": 0.75, "overhead": 0.70}
OBJECT_GOAL, AUTOENCODER_GOAL, RIGHT_GOAL, NEGATIVE_GOAL, CAMERA_GOAL = 0.6, 33.0, 0.98, 0.05, 10.0

Figures = Mapping[str, Any]


def fill(card: Path, block: str, text: str) -> None:
    """Replace the text in a block of the model card; in a card without the block, add it."""
    begin, end = f"<!-- {block}: written by scripts/train_prior.py -->", f"<!-- end: {block} -->"
    old = card.read_text(encoding="utf-8") if card.is_file() else ""
    before, found, rest = old.partition(begin)
    after = rest.partition(end)[2] if found else "\n"
    save_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", card)


def judge_tables(figures: Figures) -> str:
    """Write the judges' tables as Markdown.

    Args:
        figures: ``judges``: each judge's record by name.
    """
    return "\n\n".join(table(figures) for table in (judges, negatives))


def prior_tables(figures: Figures) -> str:
    """Write the prior's tables as Markdown.

    Args:
        figures: The result of
            [`measure_prior`][msd_lab.training.measures.measure_prior], and ``judges``:
            each judge's record by name.
    """
    tables = (views, objects, distances, pairs, details, pictures)
    return "\n\n".join(table(figures) for table in tables)


def details_kept(figures: Figures, guidance_scale: float) -> str:
    """Write the share of right objects and colours, by kind of images and classifier.

    Args:
        figures: The result of
            [`measure_details_kept`][msd_lab.training.measures.measure_details_kept].
        guidance_scale: That of the ways back.
    """
    first = next(iter(figures.values()))
    rows = [[kind, *(percent(one["both"]) for one in read.values())] for kind, read in figures.items()]
    images = next(iter(first.values()))["images"]
    return (
        f"{images} images a row, object and colour read right; to timestep t by noise and back by DDIM at "
        f"w = {guidance_scale:g}:\n\n{Table(['', *first], rows).markdown()}"
    )


def views(figures: Figures) -> str:
    note = (
        f"{figures['images of views']} images a column, as many of each object and view: view read as asked."
    )
    return f"{note}\n\n{_read(figures, 'views', 'view asked for', VIEW_GOALS)}"


def objects(figures: Figures) -> str:
    return _read(figures, "objects", "object, all views", dict.fromkeys(OBJECTS, OBJECT_GOAL))


def _read(figures: Figures, kind: str, label: str, goals: Mapping[str, float]) -> str:
    rows = [
        [
            name,
            *_columns(figures, "views", lambda read, name=name: percent(read[kind][name])),
            percent(goal, 0),
        ]
        for name, goal in goals.items()
    ]
    return Table([label, *_headings(figures, "views"), "goal"], rows).markdown()


def _headings(figures: Figures, figure: str) -> list[str]:
    return [f"{images}, judge {name}" for images, read in figures[figure].items() for name in read]


def _columns(figures: Figures, figure: str, text: Callable[[Any], str]) -> list[str]:
    return [text(own) for read in figures[figure].values() for own in read.values()]


def distances(figures: Figures) -> str:
    names, floor = list(figures["judges"]), figures["frechet"]["true renders"]
    head = [f"{label}judge {name}" for label in ("", "above the floor, ") for name in names]
    rows = []
    for images, found in figures["frechet"].items():
        above = [f"{found[name] - floor[name]:.1f}" for name in names]
        rows.append([f"samples, {images}", *(f"{found[name]:.1f}" for name in names), *above])
    rows[0][0] = "true renders, other cameras and light: the floor"
    rows[0][-len(names) :] = [UNKNOWN] * len(names)
    return Table(["Fréchet distance to true renders", *head], rows).markdown()


def pairs(figures: Figures) -> str:
    columns = {name: ("seen", name) for name in ("object", "colour", "both")}
    columns["held out: both"] = ("held out", "both")
    head = [f"{label}, judge {name}" for label in columns for name in figures["judges"]]
    rows = [
        [scale, *(percent(own[key]) for kind, key in columns.values() for own in kinds[kind].values())]
        for scale, kinds in figures["pairs"].items()
    ]
    kinds = next(iter(figures["pairs"].values()))
    seen, held_out = (next(iter(read.values()))["images"] for read in kinds.values())
    note = f"{seen} DDIM samples of seen pairs, {held_out} of held-out ones, a scale."
    return f"{note}\n\n{Table(['guidance w', *head], rows).markdown()}"


def details(figures: Figures) -> str:
    rows = [
        [
            name,
            ", ".join(where),
            *_columns(figures, "details", lambda read, name=name: percent(read[name], 0)),
        ]
        for name, where in figures["details asked from"].items()
    ]
    mean = [
        "mean",
        "",
        *_columns(figures, "details", lambda read: percent(fmean(read.values()) if read else 0.0, 0)),
    ]
    return Table(["detail", "asked from", *_headings(figures, "details")], [*rows, mean]).markdown()


def pictures(figures: Figures) -> str:
    """Tabulate the PSNR of the autoencoder, and of DDIM inversion and back; describe the latents."""
    latents = figures["latents"]
    rows = [["autoencoder, fresh renders", f"{latents['psnr']:.1f} dB", f"{AUTOENCODER_GOAL:g} dB"]]
    for steps, value in figures["round trips"].items():
        rows.append([f"DDIM inversion and back, {steps} steps each way", f"{value:.1f} dB", ""])
    return (
        f"{Table(['PSNR', 'measured', 'goal'], rows).markdown()}\n\n"
        f"Scaled latents have a deviation of {latents['std']:.2f} and none is larger than "
        f"{latents['largest']:.1f}; those of flat colours and of noise, from which distillation starts, than "
        f"{max(latents['largest_of_flat_colours'], latents['largest_of_noise']):.1f}."
    )


def judges(figures: Figures) -> str:
    found = [record["accuracy"] for record in figures["judges"].values()]
    right, median = percent(RIGHT_GOAL, 0), f"{CAMERA_GOAL:g}°"
    figures_of = {
        "object": ("object right", percent, right),
        "colour": ("colour right", percent, right),
        "view": ("view right", percent, ""),
        "details": ("details right", percent, ""),
        "azimuth": ("azimuth, median error", degrees, median),
        "elevation": ("elevation, median error", degrees, median),
        "azimuth_untold": ("azimuth of round bodies that show no detail", degrees, ""),
    }
    rows = [
        [label, *(text(own[key]) for own in found), goal] for key, (label, text, goal) in figures_of.items()
    ]
    head = ["", *(f"judge {name}" for name in figures["judges"]), "goal"]
    return f"On {found[0]['renders']} fresh true renders:\n\n{Table(head, rows).markdown()}"


def negatives(figures: Figures) -> str:
    found = {name: record["negatives"] for name, record in figures["judges"].items()}
    kinds = list(next(iter(found.values())))
    each = sum(next(iter(found.values()))[kinds[0]].values())
    head = [f"judge {name}: {what}" for name in found for what in ("an object", "which")]
    rows = []
    for kind in kinds:
        rows.append([kind])
        for read in found.values():
            taken = {name: count for name, count in read[kind].items() if name != NOTHING}
            which = ", ".join(f"{name} {count}" for name, count in taken.items())
            rows[-1] += [percent(sum(taken.values()) / sum(read[kind].values())), which or UNKNOWN]
    rows.append(["all"])
    for read in found.values():
        nothing = sum(counts.get(NOTHING, 0) for counts in read.values())
        rows[-1] += [percent(1 - nothing / (each * len(kinds))), ""]
    note = f"Read as an object of the world (goal: {percent(NEGATIVE_GOAL, 0)} at most):"
    return f"{note}\n\n{Table([f'{each} fresh images of', *head], rows).markdown()}"


def percent(share: float | None, digits: int = 1) -> str:
    """Format a fraction in per cent; None is a dash.

    >>> percent(0.9876), percent(0.05, 0), percent(None)
    ('98.8 %', '5 %', '–')
    """
    return UNKNOWN if share is None else f"{100 * share:.{digits}f} %"


def degrees(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.1f}°"
