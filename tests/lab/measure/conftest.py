"""Small text-to-3D runs, as the scene's tests have them."""

from scene.conftest import train

__all__ = ["train"]
