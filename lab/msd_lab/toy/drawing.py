"""The toys' pictures: functions that draw a figure or write an animation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import Tensor

from ..style import INK, MODE, POINT, new_figure
from .densities import GaussianMixture, Points

DENSITY_COLOURS = LinearSegmentedColormap.from_list("density", ["#ffffff", "#c9dbe8", "#6f9fc0", "#2c5f85"])
SMALL = {"frameon": False, "fontsize": 9, "labelcolor": INK}


def panels(rows: int, columns: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    """A figure and its `[rows, columns]` axes, each of `width` x `height` inches."""
    figure = new_figure(width * columns, height * rows)
    figure.set_layout_engine("constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _view(axes: Axes, density: GaussianMixture, title: str) -> None:
    (x0, y0), (x1, y1) = density.view
    axes.set(xlim=(x0, x1), ylim=(y0, y1), xticks=[], yticks=[], aspect="equal")
    axes.set_title(title, fontsize=10, color=INK)


def panel(
    axes: Axes, density: GaussianMixture, points: Points | None = None, title: str = "", size: float = 1.5
) -> None:
    """Draw points over the density; the title says how many lie outside the view."""
    (x0, y0), (x1, y1) = density.view
    colours = {"cmap": DENSITY_COLOURS, "vmin": -3, "interpolation": "bilinear"}
    axes.imshow(_background(density), extent=(x0, x1, y0, y1), origin="lower", **colours)
    if points is not None:
        x, y = points.unbind(1)
        outside = int(((x < x0) | (x > x1) | (y < y0) | (y > y1)).sum())
        axes.scatter(x, y, s=size, c=POINT, linewidths=0, alpha=0.7, rasterized=True)
        if outside:
            title += f" ({outside / len(points):.0%} outside)"
    _view(axes, density, title)


@lru_cache(maxsize=16)
def _background(density: GaussianMixture) -> np.ndarray:
    return density.logp(density.grid(160)).reshape(160, 160).clamp(min=-3).numpy()


def gallery(
    rows: Sequence[tuple[GaussianMixture, Sequence[tuple[str, Points]]]], side: float = 1.9
) -> Figure:
    """One row of panels a density; each panel a name and its points."""
    columns = max(len(clouds) for _, clouds in rows)
    figure, grid = panels(len(rows), columns, side, side + 0.25)
    for axes_row, (density, clouds) in zip(grid, rows, strict=True):
        for axes, (name, points) in zip(axes_row, clouds, strict=False):
            panel(axes, density, points, name, 1.2 if side < 2.5 else 1.8)
        axes_row[0].set_ylabel(density.name, fontsize=9, color=INK)
    return figure


def landscapes(
    density: GaussianMixture, losses: Sequence[tuple[str, Float[Tensor, "s s"], float | None]], modes: Points
) -> Figure:
    """Reconstructed losses, low in dark, with the modes and each one's lowest point.

    Args:
        density: For its view.
        losses: Name, loss on a grid over the view, and the share of the field that no
            loss explains, if any.
        modes: The density's modes.
    """
    (x0, y0), (x1, y1) = density.view
    columns = 3 if len(losses) > 4 else len(losses)
    figure, grid = panels(-(-len(losses) // columns), columns, 3, 3.7)
    for axes in grid.flat[len(losses) :]:
        axes.set_axis_off()
    for axes, (name, loss, curl) in zip(grid.flat, losses, strict=False):
        size, lowest = len(loss), density.grid(len(loss))[loss.argmin()]
        # ranks, since a loss has no scale of its own
        ranks = loss.flatten().argsort().argsort().reshape(size, size) / loss.numel()
        sides = np.linspace(x0, x1, size), np.linspace(y0, y1, size)
        axes.contourf(*sides, ranks.numpy(), levels=14, cmap="Blues_r", vmin=0, vmax=1.1)
        axes.scatter(*modes.unbind(1), s=9, c=MODE, linewidths=0, label="modes of the density")
        star = {"marker": "*", "edgecolors": "white", "linewidths": 0.8}
        axes.scatter(*lowest, s=110, c=POINT, label="lowest point of the loss", **star)
        note = "" if curl is None else f"\nno loss explains {curl:.1%} of the field"
        _view(axes, density, name + note)
    _legend_below(figure, grid, 2)
    return figure


def _legend_below(figure: Figure, grid: np.ndarray, columns: int) -> None:
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=columns, **SMALL)


def bandwidths(
    density: GaussianMixture,
    y: Float[Tensor, 2],
    draws: Sequence[tuple[float, Points, Float[Tensor, 2]]],
) -> Figure:
    """Product samples around one y: a panel for each (lambda, samples, exact mean)."""
    figure, grid = panels(1, len(draws), 2.9, 3.9)
    for axes, (lam, samples, mean) in zip(grid[0], draws, strict=True):
        panel(axes, density, samples, f"λ = {lam:g}", 3)
        axes.add_patch(Circle(y.tolist(), lam, fill=False, color=INK, linestyle=":", linewidth=1))
        axes.scatter(*y, s=30, c=INK, label="y, and its kernel's radius λ")
        axes.scatter(*samples.mean(0), s=45, marker="x", c="#7c2d12", label="mean of the samples")
        axes.scatter(
            *mean, s=90, facecolors="none", edgecolors=MODE, linewidths=1.6, label="exact mean, D(y, λ)"
        )
    _legend_below(figure, grid, 3)
    return figure


def animate(
    density: GaussianMixture,
    paths: Sequence[tuple[str, Float[Tensor, "T N 2"]]],
    file: Path,
    side: int = 260,
    seconds: float = 5.0,
) -> None:
    """Write an animation of points, one panel a method, as .gif or .mp4.

    Args:
        density: Background.
        paths: Name and recorded states, as many of each.
        file: The file.
        side: Width of a panel in pixels.
        seconds: Duration; the last state then stays for a second more.
    """
    figure = new_figure(side * len(paths) / 100, side * 1.25 / 100)  # at 100 dots an inch
    canvas, grid = FigureCanvasAgg(figure), figure.subplots(1, len(paths), squeeze=False)
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.9, 0.04)
    clouds = []
    for axes, (name, path) in zip(grid[0], paths, strict=True):
        panel(axes, density, None, name)
        clouds.append(axes.scatter(*path[0].unbind(1), s=2.5, c=POINT, linewidths=0))
    frames = []
    for states in zip(*(path for _, path in paths), strict=True):
        for cloud, points in zip(clouds, states, strict=True):
            cloud.set_offsets(points.numpy())
        canvas.draw()
        image = np.asarray(canvas.buffer_rgba())[..., :3]
        height, width = (side // 2 * 2 for side in image.shape[:2])  # videos want even sides
        frames.append(image[:height, :width].copy())
    rate = len(frames) / seconds
    timing = (
        {"fps": rate, "macro_block_size": 1}
        if file.suffix == ".mp4"
        else {"duration": 1000 / rate, "loop": 0}
    )
    imageio.imwrite(file, frames + [frames[-1]] * max(int(rate), 1), **timing)


def curves(
    points: dict[str, tuple[Sequence[float], Sequence[float]]],
    xlabel: str,
    ylabel: str,
    scale: str = "linear",
    marks: tuple[float, float] | None = None,
) -> Figure:
    """Curves with a dot at every point.

    Args:
        points: x and y of the points by the curve's name.
        xlabel: Label of the x axis.
        ylabel: Label of the y axis.
        scale: Scale of both axes, as in matplotlib.
        marks: x and y of dotted lines.
    """
    figure, ((axes,),) = panels(1, 1, 5.2, 3.8)
    for name, (x, y) in points.items():
        axes.plot(x, y, marker="o", markersize=3.5, linewidth=1.2, label=name)
    if marks:
        axes.axvline(marks[0], color=INK, linewidth=0.6, linestyle=":")
        axes.axhline(marks[1], color=INK, linewidth=0.6, linestyle=":")
    axes.set(xlabel=xlabel, ylabel=ylabel, xscale=scale, yscale=scale)
    axes.legend(**SMALL)
    return figure
