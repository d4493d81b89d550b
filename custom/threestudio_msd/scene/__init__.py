"""Text to 3D, what threestudio does not have: cameras that come again, a grid that
converges fast, and files of its surface.

Importing this registers them.
"""

from .cameras import CameraDataModule
from .exporter import MSDMeshExporter
from .grid import MultiscaleGrid
from .system import SceneMixin

__all__ = ["CameraDataModule", "MSDMeshExporter", "MultiscaleGrid", "SceneMixin"]
