"""Small text-to-3D runs, as the scene's tests have them, and a small CLIP."""

from __future__ import annotations

import pytest
from msd_lab.bench.random_pipelines import save_random_clip
from scene.conftest import train

__all__ = ["train"]


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a CLIP with random weights."""
    folder = tmp_path_factory.mktemp("clip") / "clip"
    save_random_clip(folder)
    return str(folder)
