"""The report of a comparison of scenes: tables, turntables that play on a phone, and curves, on one page."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
from PIL import Image
from threestudio_msd.files import save_text, write_whole

from ..compare.scene import TURN, Figures, Measured, SceneResults, SceneRun
from ..measure.images import Run
from ..style import GREY, as_svg, frame_in_grey, new_figure
from .image import draw_band
from .page import Section, data_url, figure, paragraph, video, write_page
from .table import Spread, Table

COLUMNS = {  # figure: heading, decimals
    "iou": ("IoU ↑", 3),
    "l1": ("L1 ↓", 3),
    "iou_scaled": ("IoU, scaled ↑", 3),
    "l1_scaled": ("L1, scaled ↓", 3),
    "psnr_scaled": ("PSNR, dB, scaled ↑", 1),
    "ssim_scaled": ("SSIM, scaled ↑", 3),
    "lpips_scaled": ("LPIPS, scaled ↓", 3),
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
RANKED = {name: head.endswith("↑") for name, (head, _) in COLUMNS.items() if head[-1] in "↑↓"}
"""The figures that rank methods: whether more is better."""
CURVES = {"iou": "IoU", "l1": "L1", "frechet": "Fréchet distance"}
AGAINST = {"nfe": "network function evaluations", "seconds": "seconds"}
FPS = 12
GAP = 4  # pixels between scenes
EQUAL = 0.01  # relative difference up to which evaluations are called equal

Runs = Mapping[SceneRun, Measured]


def write_report(results: SceneResults, out: Path) -> Path:
    """Write `tables.md`, `sheet.png`, `turntables.mp4` and `index.html`; returns the page's path."""
    grid = first_seed(results)
    frames = turntables(grid)
    if frames:
        save = partial(imageio.mimsave, format="mp4", fps=FPS, macro_block_size=2)  # yuv420p: plays on phones
        write_whole(out / "turntables.mp4", lambda path: save(path, frames))
        write_whole(out / "sheet.png", Image.fromarray(sheet(frames)).save)
    save_text(markdown(results), out / "tables.md")
    rows = {label: figures_of(runs) for label, runs in results.items()}
    shown = [table(rows).html(), *(paragraph(note, "faint") for note in notes(rows))]
    sections = [Section("", shown)]
    differences = paired(results)
    if differences.rows:
        blocks = [differences.html(), paragraph(paired_note(results), "faint")]
        sections.append(Section("Prompt by prompt", blocks))
    if frames:
        caption = f"Seed 0. Columns: {', '.join(results)}. Rows: {'; '.join(grid)}."
        blocks = [figure(video(data_url(out / "turntables.mp4")), caption)]
        sections.append(Section("Turntables", blocks))
    caption = "Mean and standard deviation over the runs. A run's seconds are spread evenly over its steps."
    sections.append(Section("On the way", [figure(curves_svg(results), caption)]))
    return write_page(out / "index.html", "Methods compared in 3D", sections)


def markdown(results: SceneResults) -> str:
    rows = {label: figures_of(runs) for label, runs in results.items()}
    blocks = [table(rows).markdown(), *notes(rows)]
    differences = paired(results)
    if differences.rows:
        blocks += [differences.markdown(), paired_note(results)]
    return "\n\n".join(blocks) + "\n"


def figures_of(runs: Runs) -> list[Figures]:
    return [one.figures for one in runs.values()]


def table(rows: Mapping[str, Sequence[Figures]]) -> Table:
    """Means over the runs with their standard deviations, a row a method; only figures that were measured."""
    found = {name for runs in rows.values() for figures in runs for name in figures}
    known = [name for name in COLUMNS if name in found]
    lines = [
        [label, len(runs), *(_spread(runs, name).text(_style(name)) for name in known)]
        for label, runs in rows.items()
    ]
    return Table(["method", "runs", *(COLUMNS[name][0] for name in known)], lines)


def _spread(runs: Sequence[Figures], name: str) -> Spread:
    return Spread(tuple(figures[name] for figures in runs if name in figures))


def _style(name: str) -> str:
    return f".{COLUMNS[name][1]}f"


def notes(rows: Mapping[str, Sequence[Figures]]) -> list[str]:
    """What a reader of the table must know: above all whether the networks were evaluated equally often."""
    spent = {label: _spread(runs, "nfe").mean for label, runs in rows.items()}
    spent = {label: nfe for label, nfe in spent.items() if nfe > 0}  # the ceiling evaluates none
    found = []
    if any(len(runs) > 1 for runs in rows.values()):
        found.append("± is the standard deviation over all runs of a row, prompts and seeds together.")
    if spent and max(spent.values()) > (1 + EQUAL) * min(spent.values()):
        counts = ", ".join(f"{label} {nfe:.0f}" for label, nfe in spent.items())
        found.append(f"The networks were not evaluated equally often: {counts}.")
    return found


def by_prompt(runs: Runs, name: str) -> dict[str, float]:
    """A figure's mean over the seeds of every prompt that has it."""
    found: dict[str, list[float]] = {}
    for run, one in runs.items():
        if name in one.figures:
            found.setdefault(run.prompt, []).append(one.figures[name])
    return {prompt: Spread(tuple(values)).mean for prompt, values in found.items()}


def paired(results: SceneResults) -> Table:
    """Every further method less the first, prompt by prompt, so that differences between prompts cancel."""
    (_, first), *others = results.items() or [("", {})]
    lines = [
        [label, *(_paired(first, runs, name) for name in RANKED)] for label, runs in others if runs and first
    ]
    return Table(["method", *(COLUMNS[name][0] for name in RANKED)], lines)


def _paired(first: Runs, runs: Runs, name: str) -> str:
    ours, theirs = by_prompt(first, name), by_prompt(runs, name)
    differences = Spread(tuple(theirs[prompt] - ours[prompt] for prompt in ours if prompt in theirs))
    if not differences.values:
        return differences.text()
    ahead = sum((one < 0) == RANKED[name] and one != 0 for one in differences.values)
    return f"{differences.text('+' + _style(name))} ({ahead} of {len(differences.values)})"


def paired_note(results: SceneResults) -> str:
    first = next(iter(results), "")
    return (
        f"Less {first}, prompt by prompt, each the mean of its seeds; ± is the standard deviation over the "
        f"prompts, in brackets in how many of them {first} is ahead."
    )


def first_seed(results: SceneResults) -> dict[str, list[SceneRun | None]]:
    """The runs of seed 0 by prompt, one a method, None where it failed."""
    first = {
        (run.method.label, run.prompt): run for runs in results.values() for run in runs if run.seed == 0
    }
    prompts = dict.fromkeys(prompt for _, prompt in first)
    return {prompt: [first.get((label, prompt)) for label in results] for prompt in prompts}


def turntables(grid: Mapping[str, Sequence[SceneRun | None]]) -> list[np.ndarray]:
    """Frames of all scenes turning together, a row a prompt and a column a method, 8 bits."""
    rows = [[_turn(run) for run in runs] for runs in grid.values()]
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


def _turn(run: SceneRun | None) -> list[np.ndarray]:
    if run is None or not run.folder.is_dir():  # known by its figures alone
        return []
    pictures = [Image.open(record.path).convert("RGB") for record in Run(run.folder).records()]
    return [np.asarray(picture)[:, : picture.height] for picture in pictures]  # the colour part


def _framed(picture: np.ndarray) -> np.ndarray:
    return np.pad(picture, ((GAP // 2,) * 2, (GAP // 2,) * 2, (0, 0)), constant_values=255)


def sheet(frames: Sequence[np.ndarray]) -> np.ndarray:
    """Four sides of all scenes, one below the other."""
    return np.concatenate([frames[i] for i in range(0, TURN, TURN // 4)])


def curves_svg(results: SceneResults) -> str:
    """Figures on the way over evaluations and over seconds, mean and deviation over the runs, as SVG."""
    drawing = new_figure(11, 3 * len(CURVES))
    axes = drawing.subplots(len(CURVES), len(AGAINST), squeeze=False)
    for own, (name, title) in zip(axes, CURVES.items(), strict=True):
        for place, (against, heading) in zip(own, AGAINST.items(), strict=True):
            for i, (label, runs) in enumerate(results.items()):
                _draw_curve(place, runs, name, against, label, i)
            frame_in_grey(place, heading)
        own[0].set_ylabel(title, color=GREY, fontsize=8)
    if any(results.values()):
        axes[0, 0].legend(frameon=False, labelcolor=GREY, fontsize=8)
    drawing.tight_layout()
    return as_svg(drawing)


def _draw_curve(axes: Any, runs: Runs, name: str, against: str, label: str, place: int) -> None:
    points = list(zip(*(one.curve for one in runs.values()), strict=False))
    points = [group for group in points if all(name in point for point in group)]
    if points:
        x = [float(np.mean([point[against] for point in group])) for group in points]
        draw_band(axes, label, place, x, [Spread(tuple(point[name] for point in group)) for group in points])
