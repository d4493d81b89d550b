"""Text to 3D, what threestudio does not have: cameras that come again, a grid that
converges fast.

Importing this registers them.
"""

from .cameras import CameraDataModule
from .grid import MultiscaleGrid
from .system import SceneMixin

__all__ = ["CameraDataModule", "MultiscaleGrid", "SceneMixin"]
