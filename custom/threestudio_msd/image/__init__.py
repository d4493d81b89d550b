"""Text to 2D: coordinate MLPs, many at once, and the data module and system that train them. Importing this registers them."""

from .data import ImageDataModule
from .encodings import FourierEncoding, HashGridEncoding
from .mlp import ImageMLP
from .system import ImageSystem

__all__ = ["FourierEncoding", "HashGridEncoding", "ImageDataModule", "ImageMLP", "ImageSystem"]
