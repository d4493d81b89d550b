"""Text in pictures, drawn by PIL in any script that an installed font has."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

from PIL import ImageDraw, ImageFont
from PIL.ImageFont import FreeTypeFont

FONTS = {
    "regular": ("DejaVuSans.ttf", "Arial.ttf", "arial.ttf"),
    "bold": ("DejaVuSans-Bold.ttf", "Arial Bold.ttf", "arialbd.ttf"),
}
"""Files of the fonts that text is drawn in, the best one first."""
FOLDERS = (
    *("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts"),
    *("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts", "C:/Windows/Fonts"),
)
"""Where Linux, macOS and Windows keep fonts."""


@dataclass(frozen=True)
class Typeface:
    """Fonts of one size, of which the first that has a character draws it.

    Attributes:
        fonts: PIL's fonts, the preferred one first; it draws the characters that none
            has, as boxes.
    """

    fonts: tuple[FreeTypeFont, ...]

    def runs(self, line: str) -> Iterator[tuple[FreeTypeFont, str]]:
        """Split a line into stretches of one font each: pairs of font and text, in
        order.
        """

        def font_of(character: str) -> FreeTypeFont:
            return next((font for font in self.fonts if has_glyph(font, character)), self.fonts[0])

        return ((font, "".join(characters)) for font, characters in groupby(line, font_of))

    def width(self, text: str) -> float:
        """Return the width in pixels of a text's widest line."""
        return max(sum(font.getlength(run) for font, run in self.runs(line)) for line in text.split("\n"))

    def draw(self, onto: ImageDraw.ImageDraw, xy: tuple[float, float], line: str, colour: str) -> None:
        """Draw one line of text.

        Args:
            onto: PIL's drawing.
            xy: Left end of the line, at mid-height, in pixels.
            line: The text, without line breaks.
            colour: As PIL takes it.
        """
        x, y = xy
        for font, run in self.runs(line):
            onto.text((x, y), run, fill=colour, font=font, anchor="lm")
            x += font.getlength(run)


def typeface_for(text: str, size: float, style: str = "regular") -> Typeface:
    """Choose fonts that can draw a text: the usual one and, if it lacks characters, the
    installed font that has most of them.

    Warns (`warnings.warn`) if no installed font has a character, which is then drawn as
    a box.

    Args:
        text: Any text.
        size: Size of the letters in pixels.
        style: `regular` or `bold`.

    Raises:
        KeyError: There is no such style.
    """
    files = {file.name: file for file in reversed(font_files())}
    known = next((str(files[name]) for name in FONTS[style] if name in files), None)
    usual = ImageFont.truetype(known, size) if known else ImageFont.load_default(size)
    missing = {c for c in text if not c.isspace() and not has_glyph(usual, c)}
    if not missing:
        return Typeface((usual,))
    best = max([usual, *_fonts(size)], key=lambda font: sum(has_glyph(font, c) for c in missing))
    boxes = "".join(sorted(c for c in missing if not has_glyph(best, c)))
    if boxes:
        warnings.warn(
            f"no installed font has {boxes}: pictures show boxes; install one, such as Noto Sans CJK",
            stacklevel=2,
        )
    return Typeface((usual, best))


@cache
def font_files() -> tuple[Path, ...]:
    """List the font files on this machine, matplotlib's first if it is installed; the
    list is made once.
    """
    package = find_spec("matplotlib")
    bundled = [Path(package.origin).parent / "mpl-data/fonts/ttf"] if package and package.origin else []
    folders = [*bundled, *(Path(folder).expanduser() for folder in FOLDERS)]
    files = [file for folder in folders for file in sorted(folder.rglob("*.[to]t[fc]"))]
    return tuple(file for file in files if not file.name.startswith("LastResort"))  # boxes for all characters


def _fonts(size: float) -> Iterator[FreeTypeFont]:
    for file in font_files():
        try:
            yield ImageFont.truetype(str(file), size)
        except OSError:  # fonts of coloured bitmaps exist in certain sizes only
            continue


@lru_cache(4096)
def has_glyph(font: FreeTypeFont, character: str) -> bool:
    """Tell whether a font has a character; those that it lacks, it draws as a box."""
    drawn, box = (font.getmask(c) for c in (character, "\U0010ffff"))
    return drawn.size != box.size or bytes(drawn) != bytes(box)


def fit_title(text: str, width: float, size: float) -> tuple[str, Typeface]:
    """Fit a bold title into a width: on one line if it fits, else in smaller letters on
    up to three lines, shortened if need be.

    Args:
        text: Any text; white space becomes single blanks.
        width: Width in pixels.
        size: Size of the letters in pixels.

    Returns:
        The text with line breaks, and the typeface that draws it.
    """
    text = " ".join(text.split())
    face = typeface_for(text, size, "bold")
    if face.width(text) <= width:
        return text, face
    smaller = Typeface(tuple(font.font_variant(size=0.7 * size) for font in face.fonts))
    widest = int(1.5 * len(text) * width / smaller.width(text))  # a line of letters narrower than most
    for columns in range(widest, 1, -1):
        lines = textwrap.fill(text, columns, max_lines=3, placeholder=" …")
        if smaller.width(lines) <= width:
            break
    return lines, smaller
