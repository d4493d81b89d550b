"""A report as one HTML page that holds its pictures, tables and curves and fetches nothing."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from mimetypes import guess_type
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image
from threestudio_msd.files import save_text

from ..assets import ASSETS

TEMPLATE = ASSETS / "page.html.j2"


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        title: Its heading; the first section of a page may have none.
        blocks: HTML, made by the functions below or by `Table.html`; text is escaped.
        name: The anchor that the page's list of contents points to; empty for no entry there.
    """

    title: str
    blocks: Sequence[Markup | str]
    name: str = ""


def write_page(path: Path, title: str, sections: Sequence[Section]) -> Path:
    """Write a page atomically; returns its path."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    save_text(template.render(title=title, sections=sections), path)
    return path


def paragraph(text: str, mark: str = "") -> Markup:
    """A paragraph; `mark` is `faint` or `failed`."""
    return Markup('<p class="{}">{}</p>').format(mark, text)


def figure(content: Markup | str, caption: str) -> Markup:
    """A picture, a video or an SVG drawing with its caption; `content` is HTML and not escaped."""
    return Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(Markup(content), caption)


def picture(url: str, text: str) -> Markup:
    return Markup('<img src="{}" alt="{}">').format(url, text)


def video(url: str) -> Markup:
    return Markup('<video src="{}" autoplay muted loop playsinline controls></video>').format(url)


def folded(summary: str, *texts: str) -> Markup:
    """Texts of fixed width that are shown on a click."""
    shown = Markup("").join(Markup("<pre>{}</pre>").format(text) for text in texts)
    return Markup("<details><summary>{}</summary>{}</details>").format(summary, shown)


def data_url(file: Path) -> str:
    kind, _ = guess_type(file.name)
    return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"


def png_url(image: np.ndarray, factor: int = 1) -> str:
    """An 8-bit image `[H, W, 3]`, every pixel repeated `factor` times each way, as a `data:` URL."""
    buffer = io.BytesIO()
    Image.fromarray(image.repeat(factor, 0).repeat(factor, 1)).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
