"""Text to 2D: coordinate MLPs, many at once, and what trains them. Importing this
registers all.
"""

from .data import ImageDataModule
from .encodings import FourierEncoding, HashGridEncoding
from .mlp import ImageMLP
from .system import ImageSystem

__all__ = ["FourierEncoding", "HashGridEncoding", "ImageDataModule", "ImageMLP", "ImageSystem"]
