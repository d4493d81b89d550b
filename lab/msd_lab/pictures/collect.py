"""Make the data set `assets/pictures.{png,json}` from Debian's packages of the Open Clip Art Library.

apt-get download openclipart-png openclipart-svg
for each: dpkg-deb -x PACKAGE.deb clipart
python -m msd_lab.pictures.collect clipart

The drawings' own files (SVG) state licence, title, author and keywords; their renderings (PNG) are shrunk.
Only drawings that are marked public domain are taken. The packages hold version 0.18.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from threestudio_msd.files import save_text

from launcher.script import Parser

from .data import COLUMNS, INDEX, SHEET, SIDE, Picture

PUBLIC_DOMAIN = re.compile(r"public ?domain", re.IGNORECASE)
FOLDERS = ("animals", "buildings", "food", "plants", "transportation")
KEYWORDS = {"animal", "boat", "building", "car", "dessert", "fruit", "plant", "tree", "vegetable"}
"""A drawing is taken if it has one of these."""
EXCLUDED = {"sailing", "knot", "religion"}
"""Diagrams of manoeuvres and of knots, mostly text; signs."""
SAME = 9.0
"""Drawings nearer than this (Euclidean, values in [-1, 1]) are one and the same; the first is taken."""


def described(path: Path) -> Picture | None:
    """Read a drawing's own description; None where it is not marked public domain, or not readable."""
    try:
        tree = ElementTree.parse(path)
    except ElementTree.ParseError:
        return None
    tags = [(node.tag.rpartition("}")[2].lower(), node) for node in tree.iter()]
    licences = [value for tag, node in tags if tag == "license" for value in node.attrib.values()]
    if not licences or not all(PUBLIC_DOMAIN.search(value) for value in licences):
        return None
    titles = [node.text.strip() for tag, node in tags if tag == "title" and (node.text or "").strip()]
    words = {node.text.strip().lower() for tag, node in tags if tag == "li" and (node.text or "").strip()}
    return Picture(titles[0] if titles else path.stem, _author(tags), tuple(sorted(words)))


def _author(tags: list[tuple[str, ElementTree.Element]]) -> str:
    for tag, node in tags:
        if tag == "creator":
            names = [text.strip() for text in node.itertext() if text.strip()]
            return names[0] if names else ""
    return ""


def shrunk(path: Path) -> np.ndarray:
    """Render a drawing on white, fitted into the data set's square: `[64, 64, 3]`, 8 bits."""
    with Image.open(path) as image:
        image = image.convert("RGBA")
        box = image.getchannel("A").getbbox() or (0, 0, *image.size)
        image = ImageOps.contain(image.crop(box), (SIDE - 4, SIDE - 4), Image.Resampling.LANCZOS)
        ground = Image.new("RGBA", (SIDE, SIDE), "white")
        ground.alpha_composite(image, ((SIDE - image.width) // 2, (SIDE - image.height) // 2))
    return np.asarray(ground.convert("RGB"))


def candidates(folder: Path) -> Iterator[tuple[Picture, np.ndarray]]:
    """Go through the drawings of the chosen folders that are public domain and have a chosen keyword."""
    pictures = {path.stem: path for path in folder.rglob("*.png")}
    for path in sorted(folder.rglob("*.svg")):
        if not set(FOLDERS) & set(path.parts) or path.stem not in pictures:
            continue
        picture = described(path)
        words = set(picture.keywords) if picture else set()
        if KEYWORDS & words and not EXCLUDED & words:
            yield picture, shrunk(pictures[path.stem])


def collect(folder: Path) -> int:
    """Write the data set; returns the number of pictures."""
    taken: list[tuple[Picture, np.ndarray]] = []
    for picture, image in candidates(folder):
        apart = [np.linalg.norm((image.astype(float) - other) / 127.5) for _, other in taken]
        if min(apart, default=SAME) >= SAME:
            taken.append((picture, image))
    rows = -(-len(taken) // COLUMNS)
    sheet = np.full((rows * SIDE, COLUMNS * SIDE, 3), 255, np.uint8)
    for place, (_, image) in enumerate(taken):
        y, x = divmod(place, COLUMNS)
        sheet[y * SIDE : (y + 1) * SIDE, x * SIDE : (x + 1) * SIDE] = image
    Image.fromarray(sheet).save(SHEET, optimize=True)
    save_text(json.dumps([picture.as_json() for picture, _ in taken], indent=0, ensure_ascii=False), INDEX)
    return len(taken)


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    parser = Parser(__doc__)
    parser.add_argument("folder", type=Path, help="where the packages were unpacked")
    print(f"{collect(parser.parse_args(argv).folder)} pictures")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
