"""How every picture of the project looks: colours, and matplotlib without a screen."""

from __future__ import annotations

import io
import os
import textwrap
import unicodedata
import warnings
from typing import Any

os.environ["MPLBACKEND"] = "agg"  # a name that matplotlib does not know would end its import

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, fontManager, get_font

INK = "#1d2733"  # text and frames
FAINT = "#6b7684"  # what stands behind
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
    """An empty white figure of `width` x `height` inches that needs neither a screen nor a backend."""
    return Figure(figsize=(width, height), facecolor="white")


def colour_of(label: str, place: int) -> str:
    """The colour of a row of a comparison: its method's, or that of its place among the rows."""
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


def write_text(figure: Figure, x: float, y: float, text: str, **style: Any) -> None:
    """Write a user's text into a figure: dollars are no mathematics, and the font has its characters."""
    figure.text(x, y, text, parse_math=False, family=families_for(text), **style)


def families_for(text: str) -> list[str]:
    """Font families that draw a text: matplotlib's own and, where that lacks some, the best one installed.

    Warns where no installed font has a character.
    """
    missing = {ord(c) for c in text if not c.isspace()} - _characters(findfont("DejaVu Sans"))
    if not missing:
        return ["DejaVu Sans"]
    # matplotlib's font of last resort has a box for every character
    fonts = [font for font in fontManager.ttflist if not font.name.startswith("Last Resort")]
    best = max(fonts, key=lambda font: len(missing & _characters(font.fname)))
    left = "".join(map(chr, sorted(missing - _characters(best.fname))))
    if left:
        warnings.warn(
            f"no installed font has {left}: pictures show boxes; install one, such as Noto Sans CJK",
            stacklevel=2,
        )
    return ["DejaVu Sans", best.name]


def _characters(font: str) -> set[int]:
    try:
        return set(get_font(font).get_charmap())
    except (OSError, RuntimeError):  # fonts of coloured bitmaps cannot be read
        return set()


def fitted(text: str, width: float, size: float) -> tuple[str, float]:
    """A bold line that fits into `width` inches: as it is, or in smaller letters on up to three lines.

    Returns:
        The text, and the size of its letters in points.

    Example:
        >>> fitted("a red mug", 3.0, 15)
        ('a red mug', 15)
    """
    text = " ".join(text.split())
    wide = 2 if any(unicodedata.east_asian_width(c) in "WF" for c in text) else 1
    if len(text) * wide <= _columns(width, size):
        return text, size
    smaller = size * 0.7
    return textwrap.fill(text, _columns(width, smaller) // wide, max_lines=3, placeholder=" …"), smaller


def _columns(width: float, size: float) -> int:
    """Letters of a bold line: they are about two thirds of their size wide."""
    return max(8, int(72 * width / (0.68 * size)))
