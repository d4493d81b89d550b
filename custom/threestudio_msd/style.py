"""How every picture of the project looks: colours, and matplotlib without a screen."""

from __future__ import annotations

from matplotlib.figure import Figure

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


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure of `width` x `height` inches that needs neither a screen nor a backend."""
    return Figure(figsize=(width, height), facecolor="white")
