"""A tiny world whose truth is known: its renderer and captions, and its judges."""

from .judge import Judge, Verdict, load_judge
from .render import Cameras, render, sample_cameras, true_renders
from .world import COLOURS, HELD_OUT, OBJECTS, VIEWS, Caption, held_out_pairs, parse_prompt, seen_pairs

__all__ = [
    "COLOURS",
    "HELD_OUT",
    "OBJECTS",
    "VIEWS",
    "Cameras",
    "Caption",
    "Judge",
    "Verdict",
    "held_out_pairs",
    "load_judge",
    "parse_prompt",
    "render",
    "sample_cameras",
    "seen_pairs",
    "true_renders",
]
