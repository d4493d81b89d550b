"""The checkout that THREESTUDIO_ROOT names."""

from __future__ import annotations

from pathlib import Path

import pytest

from .checkout import linked


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See `linked`."""
    return linked(tmp_path_factory.mktemp("threestudio"))
