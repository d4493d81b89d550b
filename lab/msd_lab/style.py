"""The look of every figure: colours, and matplotlib without a screen."""

from __future__ import annotations

import io
import os

os.environ["MPLBACKEND"] = "agg"  # a name that matplotlib does not know would end its import

from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK = "#1d2733"  # text and frames
POINT = "#c2410c"  # what is optimised
MODE = "#0f766e"  # where it should go
METHODS = {  # one colour a method, in every picture
    "MSD": "#0f766e",
    "SDS": "#c2410c",
    "VSD": "#7c3aed",
    "SDI": "#b45309",
    "CSD": "#0369a1",
    "ISM": "#be185d",
    "DDIM": "#1d2733",
}
OTHERS = ("#3d7dca", "#2a9d4a", "#d1495b", "#8f5bc4", "#7a7a7a")  # of rows that bear no method's name
GREY = "#808890"  # reads on light and on dark ground


def new_figure(width: float, height: float) -> Figure:
    """A white figure of `width` x `height` inches; needs no screen and no backend."""
    return Figure(figsize=(width, height), facecolor="white")


def colour_of(label: str, place: int) -> str:
    """A row's colour: its method's, or by its place among the rows."""
    return METHODS.get(label, OTHERS[place % len(OTHERS)])


def frame_in_grey(axes: Axes, xlabel: str) -> None:
    """Frame, ticks and label below of axes without ground."""
    axes.set_xlabel(xlabel, color=GREY, fontsize=8)
    axes.tick_params(colors=GREY, which="both", labelsize=8)
    axes.spines[:].set_color(GREY)


def as_svg(figure: Figure) -> str:
    """A figure as an SVG element without ground, to stand in a page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True)
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :]
