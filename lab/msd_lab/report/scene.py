"""The report of a comparison in 3D: a table, turntables that play on a phone, and curves, on one page."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
from PIL import Image
from threestudio_msd.files import save_text, write_whole

from ..assets import ASSETS
from ..compare.scenes import TURN, Figures, Measured, SceneCell
from ..markdown import markdown_table
from ..measure.images import Run
from ..report.table import Spread
from ..style import GREY, as_svg, colour_of, frame_in_grey, new_figure

TEMPLATE = ASSETS / "scenes.html.j2"
COLUMNS = {  # figure: heading, decimals
    "iou": ("IoU ↑", 3),
    "l1": ("L1 ↓", 3),
    "yaw_error": ("yaw error, ° ↓", 0),
    "azimuth": ("azimuth consistency ↑", 2),
    "frechet": ("Fréchet to truth ↓", 0),
    "frechet_second": ("Fréchet, second judge ↓", 0),
    "both": ("object and colour ↑", 2),
    "both_second": ("the same, second judge ↑", 2),
    "depth_agreement": ("depth agreement ↑", 2),
    "opacity": ("opacity", 3),
    "floaters": ("floaters ↓", 3),
    "nfe": ("NFE", 0),
    "seconds": ("seconds", 0),
}
CURVES = {"iou": "IoU", "l1": "L1", "frechet": "Fréchet distance"}
AGAINST = {"nfe": "network function evaluations", "seconds": "seconds"}
FPS = 12
GAP = 4  # pixels between scenes
EQUAL = 0.01  # relative difference up to which evaluations are called equal

Results = Mapping[str, Mapping[SceneCell, Measured]]


def write_report(results: Results, out: Path) -> Path:
    """Write `tables.md`, `sheet.png`, `turntables.mp4` and `index.html`; returns the page's path."""
    rows = {label: [one.figures for one in runs.values()] for label, runs in results.items()}
    pairs = paired_rows(results)
    save_text(markdown(rows) + (f"\n{paired_markdown(results)}" if pairs else ""), out / "tables.md")
    grid = first_seed(results)
    frames = turntables(grid)
    if frames:
        write_whole(out / "turntables.mp4", partial(save_video, frames=frames))
        write_whole(out / "sheet.png", partial(save_picture, image=sheet(frames)))
    from jinja2 import Environment

    page = Environment(autoescape=True, trim_blocks=True).from_string(TEMPLATE.read_text(encoding="utf-8"))
    html = page.render(
        heads=head(rows),
        rows=table_rows(rows),
        notes=notes(rows),
        paired_heads=paired_head(),
        paired_rows=pairs,
        paired_note=paired_note(results),
        labels=list(results),
        prompts=list(grid),
        video=data_url(out / "turntables.mp4", "video/mp4") if frames else "",
        curves=curves_svg(results),
    )
    save_text(html, out / "index.html")
    return out / "index.html"


def known(rows: Mapping[str, Sequence[Figures]]) -> list[str]:
    """The figures that were measured at all."""
    found = {name for runs in rows.values() for figures in runs for name in figures}
    return [name for name in COLUMNS if name in found]


def head(rows: Mapping[str, Sequence[Figures]]) -> list[str]:
    """The table's headings."""
    return ["method", "runs", *(COLUMNS[name][0] for name in known(rows))]


def table_rows(rows: Mapping[str, Sequence[Figures]]) -> list[list[str]]:
    """Means over the runs with their standard deviations, a row a method."""
    return [
        [label, str(len(runs)), *(_shown(runs, name) for name in known(rows))] for label, runs in rows.items()
    ]


def _shown(runs: Sequence[Figures], name: str) -> str:
    spread = Spread(tuple(figures[name] for figures in runs if name in figures))
    return _told(spread, f".{COLUMNS[name][1]}f") if spread.values else "–"


def _told(spread: Spread, style: str) -> str:
    """A mean and, of several values, their deviation."""
    deviation = f" ± {spread.std:{style.lstrip('+')}}" if len(spread.values) > 1 else ""
    return f"{spread.mean:{style}}{deviation}"


def notes(rows: Mapping[str, Sequence[Figures]]) -> list[str]:
    """What a reader of the table must know: above all whether the networks were evaluated equally often."""
    spent = {
        label: Spread(tuple(figures["nfe"] for figures in runs if "nfe" in figures)).mean
        for label, runs in rows.items()
        if runs
    }
    spent = {label: nfe for label, nfe in spent.items() if nfe > 0}  # the ceiling asks none
    found = ["± is the standard deviation over all runs of a row, prompts and seeds together."]
    if spent and max(spent.values()) > (1 + EQUAL) * min(spent.values()):
        told = ", ".join(f"{label} {nfe:.0f}" for label, nfe in spent.items())
        found.append(f"The networks were not evaluated equally often: {told}.")
    return found


def markdown(rows: Mapping[str, Sequence[Figures]]) -> str:
    """The table and its notes."""
    return "\n\n".join([markdown_table(head(rows), table_rows(rows)), *notes(rows)]) + "\n"


def ranked() -> dict[str, bool]:
    """The figures of which one is better than another: whether more of it is."""
    return {name: head.endswith("↑") for name, (head, _) in COLUMNS.items() if head[-1] in "↑↓"}


def by_prompt(runs: Mapping[SceneCell, Measured], figure: str) -> dict[str, float]:
    """A figure's mean over the seeds of every prompt that has it."""
    found: dict[str, list[float]] = {}
    for cell, one in runs.items():
        if figure in one.figures:
            found.setdefault(cell.prompt, []).append(one.figures[figure])
    return {prompt: Spread(tuple(values)).mean for prompt, values in found.items()}


def paired_head() -> list[str]:
    """Headings of the differences."""
    return ["method", *(COLUMNS[name][0] for name in ranked())]


def paired_rows(results: Results) -> list[list[str]]:
    """Every further method less the first, prompt by prompt, so that what prompts differ by is left out."""
    (first, *others) = results.items() if results else [("", {})]
    return [
        [label, *(_paired(first[1], runs, name, more) for name, more in ranked().items())]
        for label, runs in others
        if runs and first[1]
    ]


def _paired(
    first: Mapping[SceneCell, Measured], runs: Mapping[SceneCell, Measured], name: str, more: bool
) -> str:
    ours, theirs = by_prompt(first, name), by_prompt(runs, name)
    differences = Spread(tuple(theirs[prompt] - ours[prompt] for prompt in ours if prompt in theirs))
    if not differences.values:
        return "–"
    ahead = sum((one < 0) == more and one != 0 for one in differences.values)
    return f"{_told(differences, f'+.{COLUMNS[name][1]}f')} ({ahead} of {len(differences.values)})"


def paired_note(results: Results) -> str:
    """How the differences are to be read."""
    first = next(iter(results), "")
    return (
        f"Less {first}, prompt by prompt, each the mean of its seeds; ± is the standard deviation over the "
        f"prompts, in brackets in how many of them {first} is ahead."
    )


def paired_markdown(results: Results) -> str:
    """The differences and how they are to be read."""
    return f"{markdown_table(paired_head(), paired_rows(results))}\n\n{paired_note(results)}\n"


def first_seed(results: Results) -> dict[str, list[SceneCell | None]]:
    """The runs of seed 0 by prompt, one a method, None where it failed."""
    cells = [cell for runs in results.values() for cell in runs if cell.seed == 0]
    return {
        prompt: [
            next((cell for cell in runs if cell.seed == 0 and cell.prompt == prompt), None)
            for runs in results.values()
        ]
        for prompt in dict.fromkeys(cell.prompt for cell in cells)
    }


def turntables(grid: Mapping[str, Sequence[SceneCell | None]]) -> list[np.ndarray]:
    """Frames of all scenes turning together, a row a prompt and a column a method, 8 bits."""
    rows = [[_turn(cell) for cell in cells] for cells in grid.values()]
    shapes = {frames[0].shape for row in rows for frames in row if frames}
    if not shapes:
        return []
    height, width, _ = max(shapes)
    blank = np.full((height, width, 3), 255, np.uint8)
    return [
        np.concatenate(
            [np.concatenate([_framed(frames[i] if frames else blank) for frames in row], 1) for row in rows]
        )
        for i in range(TURN)
    ]


def _turn(cell: SceneCell | None) -> list[np.ndarray]:
    if cell is None:
        return []
    pictures = [Image.open(record.path).convert("RGB") for record in Run(cell.folder).records()]
    return [np.asarray(picture)[:, : picture.height] for picture in pictures]  # the colour part


def _framed(picture: np.ndarray) -> np.ndarray:
    return np.pad(picture, ((GAP // 2,) * 2, (GAP // 2,) * 2, (0, 0)), constant_values=255)


def save_video(path: Path, frames: Sequence[np.ndarray]) -> None:
    """As H.264 in yuv420p, which every phone plays."""
    imageio.mimsave(path, list(frames), format="mp4", fps=FPS, macro_block_size=2)


def sheet(frames: Sequence[np.ndarray]) -> np.ndarray:
    """Four sides of all scenes, one below the other."""
    return np.concatenate([frames[i] for i in range(0, TURN, TURN // 4)])


def save_picture(path: Path, image: np.ndarray) -> None:
    """As PNG."""
    Image.fromarray(image).save(path, format="PNG", optimize=True)


def data_url(path: Path, kind: str) -> str:
    """A file as a `data:` URL."""
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def curves_svg(results: Results) -> str:
    """Figures on the way over evaluations and over seconds, mean and deviation over the runs, as SVG."""
    figure = new_figure(11, 3 * len(CURVES))
    axes = figure.subplots(len(CURVES), len(AGAINST), squeeze=False)
    for row, (name, title) in enumerate(CURVES.items()):
        for column, against in enumerate(AGAINST):
            for i, (label, runs) in enumerate(results.items()):
                colour = colour_of(label, i)
                _draw_curve(
                    axes[row, column], [one.curve for one in runs.values()], name, against, label, colour
                )
            frame_in_grey(axes[row, column], AGAINST[against])
        axes[row, 0].set_ylabel(title, color=GREY, fontsize=8)
    if any(results.values()):
        axes[0, 0].legend(frameon=False, labelcolor=GREY, fontsize=8)
    figure.tight_layout()
    return as_svg(figure)


def _draw_curve(
    axes: Any, curves: Sequence[Sequence[Figures]], name: str, against: str, label: str, colour: str
) -> None:
    points = [group for group in zip(*curves, strict=False) if all(name in point for point in group)]
    if not points:
        return
    x = [np.mean([point[against] for point in group]) for group in points]
    spreads = [Spread(tuple(point[name] for point in group)) for group in points]
    mean, std = np.array([one.mean for one in spreads]), np.array([one.std for one in spreads])
    axes.plot(x, mean, color=colour, label=label, marker="o", markersize=3)
    axes.fill_between(x, mean - std, mean + std, color=colour, alpha=0.15, linewidth=0)
