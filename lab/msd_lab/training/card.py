"""The model card's tables, written from figures beside their goals, so that none is typed by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from threestudio_msd.files import save_text

from ..markdown import markdown_table
from ..tinyworld.judge import NOTHING
from ..tinyworld.world import OBJECTS, VIEWS
from .measures import Accuracy

VIEW_GOALS = {"side": 0.75, "front": 0.80, "back": 0.75, "overhead": 0.70}
OBJECT_GOAL, AUTOENCODER_GOAL, RIGHT_GOAL, NEGATIVE_GOAL, CAMERA_GOAL = 0.6, 33.0, 0.98, 0.05, 10.0

Figures = Mapping[str, Any]


def judge_tables(figures: Figures) -> str:
    """What is known of the judges, as Markdown.

    Args:
        figures: ``judges``: each judge's record by name.
    """
    return "\n\n".join(part(figures) for part in (judges, negatives))


def prior_tables(figures: Figures) -> str:
    """What is known of the prior, as Markdown.

    Args:
        figures: As [`measure_prior`][msd_lab.training.measures.measure_prior] returns them, and
            ``judges``: each judge's record by name.
    """
    parts = (views, objects, distances, pairs, details, pictures)
    return "\n\n".join(part(figures) for part in parts)


def fill(card: Path, block: str, text: str) -> None:
    """Replaces what stands in a block of the model card; in a card without the block, adds it."""
    begin, end = f"<!-- {block}: written by scripts/train_prior.py -->", f"<!-- end: {block} -->"
    old = card.read_text(encoding="utf-8") if card.is_file() else ""
    before, found, rest = old.partition(begin)
    after = rest.partition(end)[2] if found else "\n"
    save_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", card)


def pairs(figures: Figures) -> str:
    """Right object and colour of samples without a view in their prompts."""
    names = list(figures["judges"])
    head = ["guidance w"]
    head += [
        f"{kind}, judge {name}" for kind in ("object", "colour", "both", "held out: both") for name in names
    ]
    rows = []
    for scale, kinds in figures["pairs"].items():
        row = [scale]
        row += [percent(kinds["seen"][name][head]) for head in ("object", "colour", "both") for name in names]
        row += [percent(kinds["held out"][name]["both"]) for name in names]
        rows.append(row)
    first = next(iter(figures["pairs"].values()))
    counts = {kind: next(iter(read.values()))["images"] for kind, read in first.items()}
    note = f"{counts['seen']} DDIM samples of seen pairs, {counts['held out']} of held-out ones, a scale."
    return f"{note}\n\n{markdown_table(head, rows)}"


def details_kept(figures: Mapping[str, Mapping[str, Accuracy]], guidance_scale: float) -> str:
    """Object and colour right, by kind of images and reader.

    Args:
        figures: As [`measure_details_kept`][msd_lab.training.measures.measure_details_kept] returns
            them.
        guidance_scale: That of the ways back.
    """
    first = next(iter(figures.values()))
    rows = [[name, *(percent(one.both) for one in read.values())] for name, read in figures.items()]
    n = next(iter(first.values())).images
    note = (
        f"{n} images a row, object and colour read right; to timestep t by noise and back by DDIM at "
        f"w = {guidance_scale:g}:"
    )
    return f"{note}\n\n{markdown_table(['', *first], rows)}"


def views(figures: Figures) -> str:
    """Samples whose view is read as asked, by view."""
    head = ["view asked for", *_columns(figures, "views"), "goal"]
    rows = [
        [
            view,
            *(percent(read["views"][view]) for read in _read(figures, "views")),
            percent(VIEW_GOALS[view], 0),
        ]
        for view in VIEWS
    ]
    note = (
        f"{figures['images of views']} images a column, as many of each object and view: view read as asked."
    )
    return f"{note}\n\n{markdown_table(head, rows)}"


def objects(figures: Figures) -> str:
    """Samples whose view is read as asked, by object."""
    head = ["object, all views", *_columns(figures, "views"), "goal"]
    rows = [
        [
            name,
            *(percent(read["objects"][name]) for read in _read(figures, "views")),
            f"{percent(OBJECT_GOAL, 0)}",
        ]
        for name in OBJECTS
    ]
    return markdown_table(head, rows)


def distances(figures: Figures) -> str:
    """Fréchet distances to true renders of the same objects, colours, views, and that above the floor."""
    names = list(figures["judges"])
    floor = figures["frechet"]["true renders"]
    head = ["Fréchet distance to true renders", *(f"judge {name}" for name in names)]
    head += [f"above the floor, judge {name}" for name in names]
    rows = []
    for images, found in figures["frechet"].items():
        label = "true renders, other cameras and light: the floor" if found is floor else f"samples, {images}"
        above = ["–" if found is floor else f"{found[name] - floor[name]:.1f}" for name in names]
        rows.append([label, *(f"{found[name]:.1f}" for name in names), *above])
    return markdown_table(head, rows)


def pictures(figures: Figures) -> str:
    """The autoencoder, and DDIM inversion and back."""
    rows = [["autoencoder, fresh renders", decibel(figures["latents"]["psnr"]), f"{AUTOENCODER_GOAL:g} dB"]]
    rows += [
        [f"DDIM inversion and back, {steps} steps each way", decibel(value), ""]
        for steps, value in figures["round trips"].items()
    ]
    latents = figures["latents"]
    note = (
        f"Scaled latents have a deviation of {latents['std']:.2f} and none is larger than "
        f"{latents['largest']:.1f}; those of flat colours and of noise, from which distillation starts, than "
        f"{max(latents['largest_of_flat_colours'], latents['largest_of_noise']):.1f}."
    )
    return f"{markdown_table(['PSNR', 'measured', 'goal'], rows)}\n\n{note}"


def details(figures: Figures) -> str:
    """Details that are seen, or not, as true renders have them."""
    head = ["detail", "asked from", *_columns(figures, "details")]
    rows = [
        [name, ", ".join(where), *(percent(read[name], 0) for read in _read(figures, "details"))]
        for name, where in figures["details asked from"].items()
    ]
    means = (sum(read.values()) / max(len(read), 1) for read in _read(figures, "details"))
    return markdown_table(head, [*rows, ["mean", "", *(percent(mean, 0) for mean in means)]])


def judges(figures: Figures) -> str:
    """What the judges are worth on fresh true renders."""
    found = [record["accuracy"] for record in figures["judges"].values()]
    goals = {"object": RIGHT_GOAL, "colour": RIGHT_GOAL}
    rows = [
        [
            f"{head} right",
            *(percent(own[head]) for own in found),
            percent(goals[head], 0) if head in goals else "",
        ]
        for head in ("object", "colour", "view", "details")
    ]
    labels = {
        "azimuth": "azimuth, median error",
        "elevation": "elevation, median error",
        "azimuth_untold": "azimuth of round bodies that show no detail",
    }
    for key, label in labels.items():
        goal = f"{CAMERA_GOAL:g}°" if key != "azimuth_untold" else ""
        rows.append([label, *("–" if own[key] is None else f"{own[key]:.1f}°" for own in found), goal])
    note = f"On {found[0]['renders']} fresh true renders:"
    return f"{note}\n\n{markdown_table(['', *(f'judge {name}' for name in figures['judges']), 'goal'], rows)}"


def negatives(figures: Figures) -> str:
    """What the judges take images of nothing for."""
    found = {name: record["negatives"] for name, record in figures["judges"].items()}
    kinds = list(next(iter(found.values())))
    each = sum(next(iter(found.values()))[kinds[0]].values())
    head = [f"{each} fresh images of"]
    head += [f"judge {name}: {what}" for name in found for what in ("an object", "which")]
    rows = []
    for kind in kinds:
        row = [kind]
        for read in found.values():
            taken = {name: count for name, count in read[kind].items() if name != NOTHING}
            row += [percent(sum(taken.values()) / sum(read[kind].values()))]
            row += [", ".join(f"{name} {count}" for name, count in taken.items()) or "–"]
        rows.append(row)
    last = ["all"]
    for read in found.values():
        nothing = sum(counts.get(NOTHING, 0) for counts in read.values())
        last += [percent(1 - nothing / (each * len(kinds))), ""]
    rows.append(last)
    note = f"Read as an object of the world (goal: {percent(NEGATIVE_GOAL, 0)} at most):"
    return f"{note}\n\n{markdown_table(head, rows)}"


def _columns(figures: Figures, kind: str) -> list[str]:
    return [f"{images}, judge {name}" for images, read in figures[kind].items() for name in read]


def _read(figures: Figures, kind: str) -> list[Any]:
    return [found for read in figures[kind].values() for found in read.values()]


def percent(share: float | None, digits: int = 1) -> str:
    """A fraction in per cent, or a dash.

    >>> percent(0.9876), percent(0.05, 0), percent(None)
    ('98.8 %', '5 %', '–')
    """
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def decibel(value: float) -> str:
    """A ratio in dB."""
    return f"{value:.1f} dB"
